"""One example of every shape off the hot path, made of the shape itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from api.v1 import asked, sealed, suspicion, told, told_certificates, told_subjects
from api.v1.hot_examples import LEAF, PHONE, SUBJECT
from api.v1.told_bound import BoundPart, BoundView
from vault.domain.model import Reveal
from vault.service.unsealing import Why

STAFF: Final = "stf_00112233445566778899"
SERVICE: Final = "svc_8899aabbccddeeff0011"
GRANT: Final = "grt_2233445566778899aabb"
APPROVAL: Final = "apr_445566778899aabbccdd"
NOW: Final = "2026-12-01T09:00:00+00:00"
LATER: Final = "2027-03-01T09:00:00+00:00"
LOGGED: Final[dict[str, Any]] = {"log_index": 812, "leaf_hash": LEAF}
VKEY: Final = (
    "piivault/0f1e2d3c4b5a69788796a5b4c3d2e1f0+c1a2b3c4+AR0wLxBhcmVhbGx5Tm90QUtleUJ1dEFuRXhhbXBsZTA="
)

_SECRETS: Final = {"credentials": 2, "sessions": 1, "invitations": 0}
_JOB: Final = told.JobState(
    id="job_0123456789abcdef0123",
    kind="rewrap",
    target="2",
    state="running",
    total=10_000,
    done=500,
    failed=0,
    rate=21_300.0,
    seconds_left=0.4,
    node="9f8e7d6c5b4a3928",
    started_by=STAFF,
    started_at=NOW,
    beat_at=NOW,
    ended_at=None,
)
_APPROVAL: Final = told.ApprovalView(
    id=APPROVAL,
    kind="grant",
    target=GRANT,
    state="approved",
    proposed_by=STAFF,
    proposed_at=NOW,
    decided_by="stf_ffeeddccbbaa99887766",
    decided_at=NOW,
)

_CERTIFICATE: Final[dict[str, Any]] = {
    "id": "crt_66778899aabbccddeeff",
    "tombstone": 7,
    "subject": SUBJECT,
    "ground": "subject_request",
    "log_index": 812,
    "decided_at": NOW,
    "verifies": True,
    "signed": True,
}

_SHAPES: Final[tuple[msgspec.Struct, ...]] = (
    asked.LoginBody(login="j.kim", password="correct horse battery staple", code="492039"),
    asked.PasswordBody(
        login="j.kim",
        password="correct horse battery staple",
        code="492039",
        new_password="wise-lamp-onto-milk-7ray",
    ),
    asked.InvitationBody(invitation="pvi_2f6c1b0a9d8e7f605142332415a6b7c8"),
    asked.FinishBody(
        invitation="pvi_2f6c1b0a9d8e7f605142332415a6b7c8",
        password="correct horse battery staple",
        code="492039",
    ),
    asked.InviteBody(login="j.kim", name="김지우", role="handler", team="support"),
    asked.ServiceBody(name="call centre", owner=STAFF, networks=["10.20.0.0/16"]),
    asked.RotateBody(overlap_hours=24, expires_in_days=90),
    asked.GrantBody(
        actor_kind="service",
        actor_id=SERVICE,
        actions=["token:tokenize", "token:detokenize"],
        fields=["member.phone"],
        purposes=["inquiry"],
        reveal=Reveal.MASKED,
        reason="call centre answers inquiries",
    ),
    asked.DecisionBody(decision="approve"),
    asked.RotateKeyBody(kind="lookup", scope="member.phone"),
    asked.RedigestBody(scope="member.phone"),
    asked.ResealBody(kind="authority"),
    asked.SubjectBody(ground="subject_request", purpose="inquiry", reason="letter of 3 May"),
    asked.DestroyKeyBody(kind="wrapping", version=1, reason="replaced by epoch 2"),
    suspicion.DoubtBody(version=1, reason="a disk of the old server is missing"),
    suspicion.SuspendedAnswer(key="wrapping//1", successor=2, data_keys=10_000, **LOGGED),
    suspicion.ResumedAnswer(key="wrapping//1", data_keys=10_000, **LOGGED),
    suspicion.CompromiseKeyBody(version=1, reason="the backup of March was copied by somebody"),
    suspicion.CompromisedAnswer(key="wrapping//1", successor=2, suspect=10_000, job=_JOB, **LOGGED),
    told.Logged(**LOGGED),
    told.TokenAnswer(access_token="pva_0100000001", token_type="Bearer", expires_in=600),
    told.SessionAnswer(
        session="pvn_" + "0" * 72,
        session_id="ses_0123456789abcdef0123",
        expires_at="2026-12-01T17:00:00+00:00",
        password_renewal_at=LATER,
        staff=told.StaffReference(STAFF, "김지우", ("handler",)),
        log_index=812,
    ),
    told.OfferAnswer(
        login="j.kim",
        name="김지우",
        provisioning_uri="otpauth://totp/piivault:j.kim?secret=JBSWY3DPEHPK3PXP&issuer=piivault",
        secret="JBSWY3DPEHPK3PXP",
        suggested_password="wise-lamp-onto-milk-7ray",
    ),
    told.EnrolledAnswer(staff_id=STAFF, login="j.kim", state="waiting", log_index=7),
    told.InvitedAnswer(
        staff_id=STAFF, invitation="pvi_2f6c1b0a9d8e7f605142332415a6b7c8", expires_at=LATER, **LOGGED
    ),
    told.StaffList(
        items=(
            told.StaffView(
                id=STAFF,
                login="j.kim",
                name="김지우",
                team="support",
                employer="",
                roles=("handler",),
                state="active",
                created_at=NOW,
                password_set_at=NOW,
            ),
        ),
        **LOGGED,
    ),
    told.CredentialAnswer(
        service_id=SERVICE,
        client_secret="pvs_" + "0" * 72,
        credential_id="crd_" + "0" * 32,
        expires_at=LATER,
        **LOGGED,
    ),
    told.ServiceList(
        items=(
            told.ServiceView(
                id=SERVICE,
                name="call centre",
                owner=STAFF,
                networks=("10.20.0.0/16",),
                state="active",
                created_at=NOW,
                credentials=(told.CredentialView("crd_" + "0" * 32, NOW, LATER, None, ended=False),),
            ),
        ),
        **LOGGED,
    ),
    told.ProposedAnswer(grant_id=GRANT, state="active", valid_until=LATER, approval_id=None, **LOGGED),
    told.GrantList(
        items=(
            told.GrantView(
                id=GRANT,
                actor_kind="service",
                actor_id=SERVICE,
                actions=("token:detokenize", "token:tokenize"),
                fields=("member.phone",),
                purposes=("inquiry",),
                reveal="masked",
                networks=(),
                valid_from=NOW,
                valid_until=LATER,
                state="active",
                proposed_by=STAFF,
                decided_by=None,
                reason="call centre answers inquiries",
                changed_at=NOW,
            ),
        ),
        **LOGGED,
    ),
    told.ApprovalList(items=(_APPROVAL,), **LOGGED),
    told.ApprovalAnswer(approval=_APPROVAL, **LOGGED),
    told.TokenView(
        token=PHONE,
        field="member.phone",
        created_at=NOW,
        state="live",
        kind="random",
        audience=None,
        subject=SUBJECT,
        **LOGGED,
    ),
    told_subjects.SubjectAnswer(
        subject=SUBJECT,
        kind="member",
        state="open",
        since=NOW,
        created_at=NOW,
        fields=(told_subjects.LiveTokens("member.gender", 1), told_subjects.LiveTokens("member.phone", 2)),
        certificate=None,
        **LOGGED,
    ),
    told_subjects.RestrictedAnswer(subject=SUBJECT, **LOGGED),
    told_subjects.SubjectProposal(approval_id=APPROVAL, subject=SUBJECT, **LOGGED),
    told.KeyList(
        items=(told.KeyView("wrapping", "", 1, "active", NOW, NOW, 10_000, LATER, "green"),),
        bound=BoundView(
            LATER,
            "2027-03-01",
            (
                BoundPart(
                    "wrapping//1",
                    "active",
                    LATER,
                    "wrapping//1 (active), to be replaced and destroyed by 2027-03-01",
                ),
            ),
        ),
    ),
    told_certificates.CertificateList(items=(told_certificates.CertificateSummary(**_CERTIFICATE),), next=7),
    told_certificates.CertificateAnswer(
        **_CERTIFICATE,
        data_keys=1,
        values=3,
        digests=2,
        references=1,
        proposed_by=STAFF,
        approved_by="stf_ffeeddccbbaa99887766",
        approval=APPROVAL,
        note="piivault/…/certificate\ncertificate: crt_…\n…",
    ),
    told.RotatedAnswer(old=1, new=2, **LOGGED),
    told.JobAnswer(job=_JOB, **LOGGED),
    told.JobList(items=(_JOB,), **LOGGED),
    told.CensusAnswer(
        items=(
            told.HangingView(
                "session", "", 1, "deactivated", None, None, None, None, None, _SECRETS, LATER, 3
            ),
            told.HangingView("wrapping", "", 1, "deactivated", 9_500, 28_400, None, 0, 0, {}, None, 37_900),
            told.HangingView("wrapping", "", 2, "active", 500, 1_600, None, 1, 3, {}, None, 2_100),
            told.HangingView(
                "lookup", "member.phone", 1, "active", None, None, 10_000, None, None, {}, None, 10_000
            ),
        ),
        **LOGGED,
    ),
    told.DestructionAnswer(approval_id=APPROVAL, key="wrapping//1", **LOGGED),
    told.EntryAnswer(
        index=812,
        leaf_hash=LEAF,
        reason="call back, ticket 4711",
        id="0193812f00000123456789abcdef0123",
        time=NOW,
        action="token:detokenize",
        outcome="released",
    ),
    told.EntryPage(items=[{"index": 812, "action": "token:detokenize", "outcome": "released"}], next=812),
    told.ExportAnswer(start=0, size=813, entries=["eyJ2IjoxfQ=="], checkpoints=["piivault/…\n813\n…"]),
    told.VkeyAnswer(vkey=VKEY, keys=(told.LogKeyView(VKEY, NOW, None),)),
    told.StatusAnswer(
        vault_id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        database="postgresql",
        root_key="key file",
        revision=41,
        sealed=False,
        next_index=813,
        integrated=813,
        trouble="",
        log_key=VKEY,
        keys="yellow",
        late_keys=("wrapping//1",),
        compromised_keys=(),
        suspended_keys=(),
        **LOGGED,
    ),
    told.HealthAnswer(status="alive"),
    told.ReadyAnswer(status="ready", keys="green"),
    sealed.SealBody(reason="a laptop of an administrator is missing"),
    sealed.UnsealBody(share="academic acid …, the 33 words of one share"),
    sealed.SealedAnswer(**LOGGED),
    sealed.SealStateAnswer(sealed=True, why=Why.WAITING, holder="shamir", given=1, needed=2),
    sealed.SealedHealthAnswer(
        status="unready", reasons=("sealed",), why=Why.WAITING, holder="shamir", given=1, needed=2
    ),
)

EXAMPLES: Final[Mapping[type[msgspec.Struct], Any]] = MappingProxyType(
    {type(shape): msgspec.to_builtins(shape) for shape in _SHAPES}
)
"""By shape, as JSON."""
