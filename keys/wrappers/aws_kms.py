"""AWS KMS seals the root key (docs/formats/envelope.md 7).

What is guaranteed: the key that seals never leaves KMS; what was sealed opens by
that key alone and in its own context, of which KMS and CloudTrail see a hash;
nothing is sent over plaintext but to this host; and no key is in an error, its
chain or the locals of its traceback, nor in the log of the library. What is not:
what is sealed passes through this process in the clear, and whoever has its
credentials, or administers the account, opens it. Credentials are found as boto3
finds them, and the proxies of the environment are used.

An answer is waited for at most 5 s to connect and 10 s to read, in three tries.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from keys.errors import DecryptionError, KeysError, MalformedError, WrapperUnavailableError
from keys.secret import SecretBytes

T = TypeVar("T")

CONNECT_S: Final = 5
READ_S: Final = 10
RETRIES: Final = 2

_VERSION = b"\x05"
_MAX_BLOB = 6144
"""Bytes: what the API of KMS takes for a ciphertext."""

_SERVER_FAULT = 500
_LOCAL: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}").fullmatch
_KEY_ID = r"(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})"
_KEY = re.compile(
    rf"{_KEY_ID}|arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{{12}}:(?:key/{_KEY_ID}|alias/[A-Za-z0-9/_-]{{1,250}})"
).fullmatch
_CODE = re.compile(r"[A-Za-z0-9]{1,64}").fullmatch

_DOES_NOT_OPEN: Final = frozenset({"IncorrectKeyException", "InvalidCiphertextException"})
_RULES: Final = {
    "AccessDenied": "denied",
    "AccessDeniedException": "denied",
    "DisabledException": "key_disabled",
    "ExpiredToken": "expired",
    "ExpiredTokenException": "expired",
    "IncompleteSignature": "credentials",
    "InvalidClientTokenId": "credentials",
    "InvalidKeyUsageException": "key_type",
    "InvalidSignatureException": "credentials",
    "KMSInvalidStateException": "key_disabled",
    "KeyUnavailableException": "unreachable",
    "LimitExceededException": "throttled",
    "MissingAuthenticationToken": "credentials",
    "MissingAuthenticationTokenException": "credentials",
    "NotFoundException": "missing_key",
    "RequestExpired": "credentials",
    "RequestLimitExceeded": "throttled",
    "Throttling": "throttled",
    "ThrottlingException": "throttled",
    "TooManyRequestsException": "throttled",
    "UnrecognizedClientException": "credentials",
}
"""What the error codes of KMS mean; the keys of ``_HINTS``."""

_GONE: Final = "piivault keys root rotate --from-recovery"

_HINTS: Final = {
    "no_credentials": (
        "unreachable",
        "give this host credentials, if it does not get them by itself",
    ),
    "credentials": ("denied", "give this host credentials that are valid, and check its clock"),
    "denied": ("denied", "allow kms:Encrypt and kms:Decrypt on the key, in its policy or by IAM"),
    "expired": ("denied", "the credentials are expired: renew them"),
    "key_disabled": ("key_disabled", "enable the key; if it is pending deletion, cancel that at once"),
    "key_type": ("key_type", "use a symmetric key to encrypt and decrypt (SYMMETRIC_DEFAULT)"),
    "missing_key": (
        "missing_key",
        "correct key id and region; a deleted key is lost with all it sealed: " + _GONE,
    ),
    "throttled": ("unreachable", "too many requests for this account: try again later, or raise the quota"),
    "unreachable": ("unreachable", "check region, network, proxy and VPC endpoint, then try again"),
}


_UNREADABLE: Final = (AttributeError, LookupError, TypeError, ValueError)
"""What the library raises for an answer that lacks something, or is not of the type it should be."""


class AwsKmsWrapper:
    """Seals keys by a symmetric key of AWS KMS, which is asked each time. Threads may share it.

    Open it after a fork: connections of before would be those of both processes.
    """

    __slots__ = ("_client", "_description", "_key_id")

    kind: Final = "aws_kms"

    def __init__(self, key_id: str, *, region: str, endpoint: str | None = None) -> None:
        """Look for credentials, and ask KMS nothing yet. ``key_id`` is a key ARN, a key id or an alias ARN.

        Raises MalformedError: region, key_id, endpoint. Raises WrapperUnavailableError: not_installed,
        plaintext, denied, unexpected, unreachable.
        """
        self._key_id = _checked_key_id(key_id, region)
        self._description = f"AWS KMS {key_id} in {region}"
        self._client = self._connected(region, _checked_endpoint(endpoint, self._description))

    def __repr__(self) -> str:
        return f"<{self._description}>"

    def wrap(self, plaintext: SecretBytes, context: bytes) -> bytes:
        """Return ``plaintext`` sealed and bound to ``context``: ``05 ‖ CiphertextBlob``.

        Raises WrapperUnavailableError: denied, key_disabled, key_type, missing_key, unexpected, unreachable.
        """
        answer = self._ask(
            lambda: _part(
                self._client.encrypt(
                    KeyId=self._key_id, Plaintext=plaintext.expose(), EncryptionContext=_bound(context)
                ),
                "CiphertextBlob",
            )
        )
        if isinstance(answer, KeysError):
            raise answer
        return _VERSION + answer.expose()

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes:
        """Return what was wrapped.

        Raises DecryptionError: not of this layout, under another key, of another context, or changed. Raises
        WrapperUnavailableError: as wrap.
        """
        if not 1 < len(wrapped) <= 1 + _MAX_BLOB or wrapped[:1] != _VERSION:
            raise DecryptionError
        answer = self._ask(
            # The key is named, or KMS would open what anybody sealed under a key these credentials may use.
            lambda: _part(
                self._client.decrypt(
                    KeyId=self._key_id, CiphertextBlob=wrapped[1:], EncryptionContext=_bound(context)
                ),
                "Plaintext",
            )
        )
        if isinstance(answer, KeysError):
            raise answer
        return answer

    def names(self) -> frozenset[str]:
        """Return ARN and id of the key that is meant, by whatever it is named: keys that share one are one.

        A key of several regions has one id and an ARN in each. Raises WrapperUnavailableError
        as wrap; the role needs kms:DescribeKey.
        """
        answer = self._ask(
            lambda: frozenset(
                str(self._client.describe_key(KeyId=self._key_id)["KeyMetadata"][name])
                for name in ("Arn", "KeyId")
            )
        )
        if isinstance(answer, KeysError):
            raise answer
        return answer

    def schedule_deletion(self, days: int) -> datetime:
        """Have KMS delete the key after so many days, 7 to 30; return when. Until then it can be cancelled.

        Asked again while it waits, the answer is the day it waits for. Raises
        WrapperUnavailableError as wrap; the role needs kms:ScheduleKeyDeletion and kms:DescribeKey.
        """
        answer = self._ask(lambda: self._deleted_at(days))
        if isinstance(answer, KeysError):
            raise answer
        return answer

    def _deleted_at(self, days: int) -> datetime:
        """Ask. Raises LookupError or AttributeError for an answer without a date."""
        described = self._client.describe_key(KeyId=self._key_id)["KeyMetadata"]
        if described["KeyState"] == "PendingDeletion":
            return datetime.fromtimestamp(described["DeletionDate"].timestamp(), UTC)
        answer = self._client.schedule_key_deletion(KeyId=described["KeyId"], PendingWindowInDays=days)
        return datetime.fromtimestamp(answer["DeletionDate"].timestamp(), UTC)

    def describe(self) -> str:
        """Return key and region."""
        return self._description

    def _connected(self, region: str, endpoint: str | None) -> Any:
        try:
            from boto3.session import Session
            from botocore.config import Config
        except ImportError:
            hint = 'pip install "piivault[aws]"'
            raise WrapperUnavailableError("not_installed", "AWS KMS", hint) from None
        # The library logs requests and answers at DEBUG, and the keys are in them.
        logging.getLogger("botocore").setLevel(logging.WARNING)
        config = Config(
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            retries={"max_attempts": RETRIES, "mode": "standard"},
            # Keys go where the settings of the vault say, not where a variable of the environment does.
            ignore_configured_endpoint_urls=True,
        )
        client = self._ask(
            lambda: Session(region_name=region).client("kms", endpoint_url=endpoint, config=config)
        )
        if isinstance(client, KeysError):
            raise client
        return client

    def _ask(self, send: Callable[[], T]) -> T | KeysError:
        """Return what KMS answers, or the error to raise.

        None is raised here: frames of the library hold the request, and an error
        that is raised where theirs is caught would hold it in turn.
        """
        from botocore import exceptions, parsers

        try:
            return send()
        except exceptions.ClientError as error:
            return self._refused(error.response)
        except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
            return self._fault("unreachable", type(error).__name__)
        except (exceptions.CredentialRetrievalError, exceptions.NoCredentialsError) as error:
            return self._fault("no_credentials", type(error).__name__)
        except (
            exceptions.ConfigParseError,
            exceptions.PartialCredentialsError,
            exceptions.ProfileNotFound,
            exceptions.SSOError,
            exceptions.TokenRetrievalError,
        ) as error:
            return self._fault("credentials", type(error).__name__)
        except (exceptions.BotoCoreError, parsers.ResponseParserError, *_UNREADABLE) as error:
            return self._fault("", type(error).__name__)

    def _refused(self, response: dict[str, Any]) -> KeysError:
        """Return the error for an answer that is one. Its text is dropped, since it may quote the request."""
        code = str(response.get("Error", {}).get("Code", ""))
        if code in _DOES_NOT_OPEN:
            return DecryptionError()
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        kind = _RULES.get(code, "unreachable" if status >= _SERVER_FAULT else "")
        return self._fault(kind, code if _CODE(code) else "")

    def _fault(self, kind: str, code: str) -> WrapperUnavailableError:
        rule, hint = _HINTS.get(kind, ("unexpected", "look for the request in CloudTrail"))
        return WrapperUnavailableError(rule, self._description, f"{hint} ({code})" if code else hint)


def _bound(context: bytes) -> dict[str, str]:
    """Return the encryption context: a hash, as CloudTrail shows it in the clear and its size is limited."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(context).digest())
    return {"piivault": digest.rstrip(b"=").decode()}


def _part(answer: dict[str, Any], name: str) -> SecretBytes:
    """Return a part of an answer. Raises ValueError when it is empty, which KMS never answers."""
    if not answer[name]:
        raise ValueError(name)
    return SecretBytes(answer[name])


def _checked_key_id(key_id: str, region: str) -> str:
    # A bare alias is refused: it names whatever the account of the credentials calls so.
    if not _REGION(region):
        raise MalformedError("region")
    matched = _KEY(key_id)
    if matched is None or matched[1] not in {None, region}:
        raise MalformedError("key_id")
    return key_id


def _checked_endpoint(endpoint: str | None, place: str) -> str | None:
    if endpoint is None:
        return None
    try:
        parts = urlsplit(endpoint)
        scheme, host, _ = parts.scheme, parts.hostname, parts.port
    except ValueError:
        raise MalformedError("endpoint") from None
    if scheme not in {"http", "https"} or not host or parts.username or parts.query or parts.fragment:
        raise MalformedError("endpoint")
    if scheme == "http" and host not in _LOCAL:
        raise WrapperUnavailableError("plaintext", place, "use https; plain http only to this host")
    return endpoint
