"""The offline verifier: an export folder or a certificate, a public key, and nothing else.

Imports no storage and no access code, so that it can be read, and run, apart
from the vault it judges.
"""

from vault.audit.verify.certificate import (
    CertificateRejectedError,
    VerifiedCertificate,
    verify_certificate,
)
from vault.audit.verify.export import Progress, verify_export
from vault.audit.verify.report import ExportRejectedError, Finding, Report

__all__ = [
    "CertificateRejectedError",
    "ExportRejectedError",
    "Finding",
    "Progress",
    "Report",
    "VerifiedCertificate",
    "verify_certificate",
    "verify_export",
]
