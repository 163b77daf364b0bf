"""Certificates of destruction, for those who oversee."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response

from api.v1 import told_certificates as told
from api.v1.calls import Asked, answer, moment
from api.v1.documents import documented
from vault.domain.actions import Action
from vault.service.certificates import FURTHEST, CertificateView

router: Final = APIRouter(tags=["certificates"])

CertificatePath = Annotated[str, Path(pattern="^crt_[0-9a-f]{20}$", description="id of a certificate")]


@router.get(
    "/v1/certificates",
    **documented(
        Action.CERTIFICATE_LIST,
        "List certificates of destruction, the newest first",
        answer=told.CertificateList,
    ),
)
def list_certificates(call: Asked, before: Annotated[int, Query(ge=0, le=FURTHEST)] = FURTHEST) -> Response:
    """One page, of tombstones below ``before``."""
    page = call.vault.certificates.list(call.request, before=before)
    items = tuple(told.CertificateSummary(**_summary(view)) for view in page.views)
    return answer(told.CertificateList(items=items, next=page.next))


@router.get(
    "/v1/certificates/{certificate_id}",
    **documented(
        Action.CERTIFICATE_SHOW,
        "Show a certificate of destruction",
        answer=told.CertificateAnswer,
        errors=(404,),
    ),
)
def show_certificate(call: Asked, certificate_id: CertificatePath) -> Response:
    """Show one, with the signed text: whoever has that and the log's public key can verify it."""
    view = call.vault.certificates.show(call.request, certificate_id)
    names = ("data_keys", "values", "digests", "references", "proposed_by", "approved_by", "approval")
    more = {name: view.facts[name] for name in names}
    return answer(told.CertificateAnswer(**_summary(view), **more, note=view.note))


def _summary(view: CertificateView) -> dict[str, Any]:
    return {
        "id": view.id,
        "tombstone": view.seq,
        "subject": view.facts.get("subject"),
        "ground": view.facts.get("ground"),
        "log_index": view.facts.get("log_index"),
        "decided_at": moment(view.facts["at_us"]) if view.verifies else None,
        "verifies": view.verifies,
        "signed": view.note is not None,
    }
