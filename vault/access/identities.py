"""Random ids of the vault's own things, and moments in whole microseconds."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

from vault.domain.ids import ApprovalId, GrantId, ServiceId, StaffId

SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
HOUR_US: Final = 60 * MINUTE_US
DAY_US: Final = 24 * HOUR_US

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_ID_BYTES: Final = 10
"""80 random bits: no two meet by chance, and nobody guesses one that exists."""


def moment(at_us: int) -> datetime:
    """Return ``at_us`` microseconds since the epoch as an aware UTC time, exactly."""
    return _EPOCH + timedelta(microseconds=at_us)


def new_staff_id() -> StaffId:
    """Return a fresh id of a staff member."""
    return StaffId("stf_" + secrets.token_hex(_ID_BYTES))


def new_service_id() -> ServiceId:
    """Return a fresh id of a service; it is the OAuth client id too."""
    return ServiceId("svc_" + secrets.token_hex(_ID_BYTES))


def new_grant_id() -> GrantId:
    """Return a fresh id of a grant."""
    return GrantId("grt_" + secrets.token_hex(_ID_BYTES))


def new_approval_id() -> ApprovalId:
    """Return a fresh id of an approval."""
    return ApprovalId("apr_" + secrets.token_hex(_ID_BYTES))


def new_certificate_id() -> str:
    """Return a fresh id of a certificate of destruction."""
    return "crt_" + secrets.token_hex(_ID_BYTES)


def new_session_id() -> str:
    """Return a fresh public id of a session."""
    return "ses_" + secrets.token_hex(_ID_BYTES)


INITIAL_PREFIX: Final = "ini_"
"""Begins the id of an invitation made at init. The id is under the row's MAC, so nobody can pass for one."""


def new_invitation_id(*, initial: bool = False) -> str:
    """Return a fresh public id of an invitation; ``initial`` for the two people of init."""
    return (INITIAL_PREFIX if initial else "inv_") + secrets.token_hex(_ID_BYTES)


def credential_id(raw: bytes) -> str:
    """Return the public id of the credential whose row id in an access token is ``raw``."""
    return "crd_" + raw.hex()


def new_credential_id() -> str:
    """Return a fresh public id of a credential."""
    return credential_id(secrets.token_bytes(16))


def raw_credential_id(public: str) -> bytes:
    """Return the 16 bytes that stand for a credential in an access token."""
    return bytes.fromhex(public.removeprefix("crd_"))
