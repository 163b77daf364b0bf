"""Verify a certificate of destruction: offline, with a public key and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.command import add
from cli.errors import exit_code
from cli.output import Output
from vault.audit.verify import CertificateRejectedError, VerifiedCertificate, verify_certificate
from vault.domain.errors import InvalidInputError, TamperDetectedError

LARGEST: Final = 100_000
"""Bytes of a signed note."""


def add_to(certificate: typer.Typer) -> None:
    """Add ``verify`` to the group ``certificate``."""
    add(
        certificate,
        "verify",
        verify,
        "piivault certificate verify crt_66778899aabbccddeeff.txt --key 'piivault/4f…+1a2b3c4d+AX…'",
        "piivault certificate verify crt_66778899aabbccddeeff.txt --key-file log.vkey --export log-2026-12",
    )


def verify(
    out: Output,
    file: Annotated[Path, typer.Argument(help="File that certificate show wrote.")],
    *,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", help="Public key of the log, from anywhere but the file; may be repeated."),
    ] = None,
    key_file: Annotated[
        list[Path] | None, typer.Option("--key-file", help="The same, in a file; may be repeated.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option("--export", help="An export of the log that has to hold the entry.")
    ] = None,
) -> None:
    """Check a certificate of destruction, offline.

    That the log's key signed every character of it. With --export also that the
    log verifies and that the entry of the erasure stands in it. Ends with 6 when
    anything does not verify. After the key was rotated give both, old and new.
    """
    keys = [*(key or ()), *(_read(path, "--key-file").strip() for path in key_file or ())]
    if not keys:
        raise InvalidInputError("give --key or --key-file", field="--key", rule="required")
    note = _read(file, "file")
    if export is not None and not export.is_dir():
        raise InvalidInputError(f"there is no folder {export}", field="--export", rule="missing")
    try:
        verified = verify_certificate(note, keys, export=export)
    except CertificateRejectedError as error:
        _refuse(out, error.rule)
        raise typer.Exit(exit_code(TamperDetectedError)) from None
    except ValueError:
        raise InvalidInputError("not the public key of a log", field="--key", rule="vkey") from None
    except OSError as error:
        raise InvalidInputError(
            f"{export} cannot be read: {error.strerror}", field="--export", rule="unreadable"
        ) from None
    _tell(out, verified)


def _read(path: Path, option: str) -> str:
    try:
        with path.open("rb") as file:
            # Not as text: a carriage return that is read as a newline would be a changed character.
            return file.read(LARGEST + 1).decode()
    except (OSError, UnicodeDecodeError):
        raise InvalidInputError(f"{path} cannot be read", field=option, rule="unreadable") from None


def _refuse(out: Output, rule: str) -> None:
    if out.as_json:
        out.document({"verified": False, "rule": rule})
    else:
        out.line(f"DOES NOT VERIFY: {rule}")


def _tell(out: Output, verified: VerifiedCertificate) -> None:
    certificate = verified.certificate
    if out.as_json:
        out.document(_document(verified))
        return
    out.line(f"Verified: every line below was signed by {verified.key}")
    for name, value in certificate.lines.items():
        out.line(f"  {name}: {value}")
    for part in certificate.hangs_on:
        out.line(f"  copies hang on: {part}")
    if verified.log_size is None:
        out.line("Not checked: that the entry is in the log. See --export")
    else:
        out.line(f"Verified: the export has {verified.log_size:,} entries and this one is in it.")


def _document(verified: VerifiedCertificate) -> dict[str, Any]:
    certificate = verified.certificate
    return {
        "verified": True,
        "key": verified.key,
        "certificate": {
            **{name.replace(" ", "_"): value for name, value in certificate.lines.items()},
            "copies_hang_on": list(certificate.hangs_on),
        },
        "log_size": verified.log_size,
    }
