"""The offline verifier: an export folder and a public key, and nothing else.

Imports no storage and no access code, so that it can be read, and run, apart
from the vault it judges.
"""

from vault.audit.verify.export import Progress, verify_export
from vault.audit.verify.report import ExportRejectedError, Finding, Report

__all__ = ["ExportRejectedError", "Finding", "Progress", "Report", "verify_export"]
