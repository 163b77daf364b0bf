"""Verify a certificate of destruction, offline. Rules: docs/formats/certificate.md section 3.

What is checked: that the log's key signed this very text, and, with an export
of the log, that the entry it names stands there. Nothing in the file chooses
the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vault.audit.bundles import BUNDLE_LIMIT, BUNDLE_WIDTH, bundle_path, parse_bundle
from vault.audit.certificate import Certificate, open_certificate
from vault.audit.merkle import leaf_hash
from vault.audit.note import NoteError, NoteKey, UnsignedNoteError, parse_vkey
from vault.audit.verify.export import verify_export
from vault.audit.verify.files import read_plain
from vault.audit.verify.report import ExportRejectedError


class CertificateRejectedError(Exception):
    """The certificate does not verify. ``rule`` says why."""

    def __init__(self, rule: str) -> None:
        super().__init__(f"the certificate does not verify: {rule}")
        self.rule = rule


@dataclass(frozen=True, slots=True)
class VerifiedCertificate:
    """A certificate that verifies."""

    certificate: Certificate
    key: str
    """Name and id of the key that signed it."""
    log_size: int | None
    """Entries of the export that has the entry; None when none was given."""


def verify_certificate(note: str, vkeys: Sequence[str], *, export: Path | None = None) -> VerifiedCertificate:
    """Return what ``note`` certifies.

    ``vkeys`` are public keys of the log, from outside the file; one of them has
    signed. With ``export`` that folder must verify under one of them, too, and
    hold the entry that the certificate names.

    Raises:
        CertificateRejectedError: it does not verify: ``bad_signature``, ``wrong_origin``,
            a rule of the form, ``export``, ``not_covered`` or ``leaf``.
        MalformedNoteError: one of ``vkeys`` is none.
        OSError: the export cannot be read.

    """
    keys = [parse_vkey(vkey) for vkey in vkeys]
    certificate, key = _opened(note, keys)
    size = None if export is None else _require_entry(certificate, vkeys, export)
    return VerifiedCertificate(certificate, f"{key.name}+{key.key_id.hex()}", size)


def _opened(note: str, keys: Sequence[NoteKey]) -> tuple[Certificate, NoteKey]:
    for key in keys:
        try:
            return open_certificate(note, key), key
        except UnsignedNoteError:
            continue
        except NoteError as error:
            raise CertificateRejectedError(error.rule) from None
    raise CertificateRejectedError("bad_signature")


def _require_entry(certificate: Certificate, vkeys: Sequence[str], export: Path) -> int:
    """Return the size of the export, once the entry stands in it. Raises CertificateRejectedError."""
    size = _verified_size(vkeys, export)
    index = certificate.log_index
    if index >= size:
        raise CertificateRejectedError("not_covered")
    number, at = divmod(index, BUNDLE_WIDTH)
    width = min(BUNDLE_WIDTH, size - number * BUNDLE_WIDTH)
    bundle = parse_bundle(read_plain(export / bundle_path(number, width), limit=BUNDLE_LIMIT), width)
    if leaf_hash(bundle[at]) != certificate.leaf:
        raise CertificateRejectedError("leaf")
    return size


def _verified_size(vkeys: Sequence[str], export: Path) -> int:
    for vkey in vkeys:
        try:
            return verify_export(export, vkey).size
        except ExportRejectedError:
            continue
    raise CertificateRejectedError("export")
