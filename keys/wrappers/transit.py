"""What the transit engine is sent and what it answers, without the sending.

What is guaranteed: an answer is read strictly or counts as unexpected; nothing
here that reads a secret raises, so that no secret is in the locals of a
traceback; and an error says what is wrong in our words, never in the server's.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any, Final

from keys.errors import DecryptionError, MalformedError, WrapperUnavailableError
from keys.secret import SecretBytes, SecretText

VERSION: Final = b"\x03"
MAX_TOKEN: Final = 4096

_WORD = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_NAME = re.compile(_WORD).fullmatch
_PATH = re.compile(f"{_WORD}(?:/{_WORD})*").fullmatch
_TOKEN = re.compile(rf"[\x21-\x7e]{{1,{MAX_TOKEN}}}").fullmatch
_SEALED = re.compile(rb"\x03vault:v([1-9][0-9]{0,9}):([A-Za-z0-9+/]+={0,2})").fullmatch

_DOES_NOT_OPEN = "does_not_open"
# How the servers say what is wrong: status, a pattern found in their error texts, our rule; the first that
# fits. Taken from OpenBao 2.7.2, which the tests run; its texts are those of Vault but for soft deletion.
_FAULTS: Final[tuple[tuple[int, re.Pattern[str], str], ...]] = (
    (400, re.compile(r"message authentication failed"), _DOES_NOT_OPEN),
    (400, re.compile(r"^invalid ciphertext"), _DOES_NOT_OPEN),
    (400, re.compile(r"disallowed by policy \(too old\)"), "version_removed"),
    (400, re.compile(r"encryption key not found|soft-deleted key"), "missing_key"),
    (400, re.compile(r"non-AEAD cipher suite|for key derivation"), "key_type"),
    (400, re.compile(r"wrapping token is not valid or does not exist"), "wrapping_token_used"),
    (403, re.compile(r""), "denied"),
    (404, re.compile(r"no handler for route|unsupported path"), "missing_mount"),
    (404, re.compile(r"namespace not found"), "missing_namespace"),
    (404, re.compile(r"^$"), "missing_key"),
    (503, re.compile(r"sealed"), "sealed"),
)
_NOT_NOW: Final = frozenset({429, 500, 502, 503, 504})
"""Answers of a server that is busy, starting or failing, or of what stands before one that is not there."""

_HINTS: Final = {
    "denied": "the token is expired, revoked or wrong, or lacks the policy: get a new token",
    "key_type": "make a key of type aes256-gcm96 or chacha20-poly1305 that is not derived",
    "missing_key": "it was never made, or deleted: restore it, or piivault keys root rotate --from-recovery",
    "missing_mount": "enable the transit engine there, or name the right mount",
    "missing_namespace": "name the right namespace",
    "not_bound": "it ignores associated data: use OpenBao, or Vault 1.13 or newer",
    "plaintext": "use https; plain http only to this host",
    "sealed": "unseal the server",
    "tls": "its certificate must name this host and be signed by an authority of the CA file",
    "unexpected": "look into the log of the server; the address must be of the active one",
    "unreachable": "start the server, or correct the address; a status: it cannot answer now, ask again",
    "version_removed": "lower min_decryption_version, or restore the key from before it was trimmed",
    "wrapping_token_used": "somebody else may have opened it: revoke what it stood for, get a new one",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of whatever was answered."""

    status: int
    body: SecretBytes


def version_of(wrapped: bytes) -> int | None:
    """Return the version of the transit key that ``wrapped`` is under; None for any form but the canonical.

    The server would take others too: ``v01`` for ``v1``, line feeds, stray bits at the end of base64.
    """
    found = _SEALED(wrapped)
    if found is None or _from_base64(found[2].decode()) is None:
        return None
    return int(found[1])


def request(
    *, context: bytes, ciphertext: bytes | None = None, plaintext: SecretBytes | None = None
) -> SecretBytes:
    """Return the body of a request to seal or to open in ``context``."""
    members = {"associated_data": _to_base64(context)}
    if ciphertext is not None:
        members["ciphertext"] = ciphertext.decode("ascii")
    if plaintext is not None:
        members["plaintext"] = _to_base64(plaintext.expose())
    return SecretBytes(json.dumps(members).encode())


def member(body: SecretBytes, *names: str) -> Any:
    """Return what stands in ``body`` under ``names``, one inside the other, or None."""
    try:
        found = json.loads(body.expose())
    except (ValueError, RecursionError):
        return None
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def count(body: SecretBytes, *names: str) -> int | None:
    """Return the whole number, 0 or more, that stands there, or None."""
    found = member(body, *names)
    return found if type(found) is int and found >= 0 else None


def wrapped_in(body: SecretBytes) -> bytes | None:
    """Return the ciphertext of ``body`` in the form that is stored, or None."""
    text = member(body, "data", "ciphertext")
    if not isinstance(text, str) or not text.isascii():
        return None
    wrapped = VERSION + text.encode()
    return None if version_of(wrapped) is None else wrapped


def plaintext_in(body: SecretBytes) -> SecretBytes | None:
    """Return what ``body`` says was sealed, or None."""
    text = member(body, "data", "plaintext")
    return _from_base64(text) if isinstance(text, str) else None


def token_in(body: SecretBytes) -> SecretText | None:
    """Return the token that was wrapped, or None."""
    text = member(body, "auth", "client_token")
    token = SecretText(text) if isinstance(text, str) else None
    return token if token is not None and _is_token(token) else None


def token_of(content: SecretBytes) -> SecretText | None:
    """Return the token in the content of a file, or None."""
    text = content.expose().removesuffix(b"\n")
    token = SecretText(text.decode("latin-1"))
    return token if _is_token(token) else None


def checked_token(token: SecretText) -> SecretText:
    """Return ``token``. Raises MalformedError("token") unless it can stand in a header: visible ASCII."""
    if not _is_token(token):
        raise MalformedError("token")
    return token


def checked_name(name: str) -> str:
    """Return the name of a key. Raises MalformedError("key_name"): nothing in it may lead elsewhere."""
    if _NAME(name) is None:
        raise MalformedError("key_name")
    return name


def checked_path(path: str, rule: str) -> str:
    """Return names with slashes between them. Raises MalformedError of ``rule``, as above."""
    if _PATH(path) is None:
        raise MalformedError(rule)
    return path


def refusal(answer: Answer, about: str) -> DecryptionError | WrapperUnavailableError:
    """Return the error that ``answer``, which is not 200, stands for."""
    rule = _rule_of(answer)
    if rule == _DOES_NOT_OPEN:
        return DecryptionError()
    return unavailable(rule, f"{about} (status {answer.status})")


def unavailable(rule: str, about: str) -> WrapperUnavailableError:
    """Return the error with the hint of its rule."""
    return WrapperUnavailableError(rule, about, _HINTS[rule])


def _is_token(token: SecretText) -> bool:
    return _TOKEN(token.expose()) is not None


def _rule_of(answer: Answer) -> str:
    told = member(answer.body, "errors")
    if isinstance(told, list):
        text = "\n".join(item for item in told if isinstance(item, str))
        for status, pattern, rule in _FAULTS:
            if answer.status == status and pattern.search(text):
                return rule
    return "unreachable" if answer.status in _NOT_NOW else "unexpected"


def _to_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _from_base64(text: str) -> SecretBytes | None:
    """Return the bytes, or None for any text but the one that stands for them."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return SecretBytes(content) if _to_base64(content) == text else None
