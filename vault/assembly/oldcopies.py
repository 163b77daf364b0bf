"""Sealed copies of an older root key: what each is called, and how what opens it is ended.

What sealed a copy was told when it was made, and stands beside it. What the
vault reaches it ends itself: a key file on this host, a version of a transit
key, a key in a token. The rest, paper and what people know, only people end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from keys.errors import DecryptionError, KeysError, WrapperUnavailableError
from keys.rootkey import RootKey, RootSlot
from keys.wrappers import KeyWrapper
from keys.wrappers.aws_kms import AwsKmsWrapper
from keys.wrappers.keyfile import KeyFileWrapper
from keys.wrappers.openbao import OpenBaoWrapper, read_token
from keys.wrappers.pkcs11 import Pkcs11Wrapper
from vault.assembly.wrapping import Table, key_file, nobody, wrapper_of
from vault.domain.errors import ConflictError, UnavailableError
from vault.settings import Settings
from vault.storage.roots import RootRow

KMS_DAYS: Final = 30
"""Days until AWS KMS deletes a key, and until then it can be kept after all: the most there are."""

CONFIRMED: Final = "confirmed"
"""How a copy ended that this host does not reach: somebody said so."""

_FILE: Final = re.compile(r"key file (.+), fingerprint ([0-9a-f]{16})", re.DOTALL).fullmatch
_SHARES: Final = re.compile(r"Shamir shares, \d+ of (\d+), .*").fullmatch
_TRANSIT: Final = re.compile(r"(OpenBao transit .+), version (\d+)").fullmatch
_KMS: Final = re.compile(r"AWS KMS (\S+) in (\S+)").fullmatch

_DO: Final = MappingProxyType(
    {
        "file": "delete it on every host, and every backup of it",
        "passphrase": "destroy every note of it, and never use it again",
        "shamir": "collect and destroy the paper, every one of them",
        "openbao": "have its version removed from the server, and from every backup of the server",
        "pkcs11": "have it destroyed in the token, and in every backup of the token",
        "aws_kms": "have it deleted (or add --schedule-kms-deletion): whatever else it sealed is lost then",
    }
)
"""What a person has to do who confirms a copy of a kind."""


@dataclass(frozen=True, slots=True)
class OldCopy:
    """A copy of an older root key that something somewhere may still open."""

    row: RootRow
    name: str
    """What is typed to confirm that this is gone."""
    to_do: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How what opened a copy ended."""

    how: str
    """A word of the log: absent, confirmed, destroyed, disallowed, overwritten, removed, scheduled."""
    at_us: int | None = None
    """When it is going to, if that is later than now."""


def old_copy(settings: Settings, row: RootRow) -> OldCopy:
    """Return what ``row`` is called and what is to be done about it."""
    return OldCopy(row, _name(settings, row), _DO.get(row.kind, "destroy what opens it"))


def _name(settings: Settings, row: RootRow) -> str:
    spare = "recovery " if row.slot == RootSlot.RECOVERY else ""
    if row.kind == "file":
        path = _path(settings, row)
        return f"{spare}key file of root key {row.version}" if path is None else str(path)
    if row.kind == "shamir":
        made = _SHARES(row.sealed_by)
        count = f"{made[1]} " if made else ""
        return f"{count}{spare}shares of root key {row.version}"
    if row.kind == "passphrase" or not row.sealed_by:
        return f"{spare}{row.kind} of root key {row.version}"
    return row.sealed_by


def _path(settings: Settings, row: RootRow) -> Path | None:
    """Return where the key file of a copy was; None where nobody wrote that down."""
    if row.slot == RootSlot.LIVE:
        return key_file(settings, row.version)
    told = _FILE(row.sealed_by)
    return Path(told[1]) if told else None


def require_apart(
    rows: Sequence[RootRow], wrappers: Sequence[KeyWrapper], vault_id: bytes, *, all_kinds: bool
) -> None:
    """Return if none of ``wrappers`` opens one of ``rows``: a copy in force, or of before and not ended.

    A passphrase never may: nothing but another one ends it. Any other holder is
    compared with ``all_kinds``, and with the copies in force alone, for of earlier
    ones the sealed bytes are gone. A transit key gets its next version for that,
    if the token may make it. Raises ConflictError with what to do,
    WrapperUnavailableError.
    """
    for row in rows:
        for wrapper in wrappers:
            if wrapper.kind != row.kind or not row.wrapped or row.ended_at is not None:
                continue
            if row.kind == "passphrase":
                _require_shut(wrapper, row, vault_id)
            elif all_kinds and row.state == "active":
                _require_next(wrapper, row, vault_id)


def _require_next(wrapper: KeyWrapper, row: RootRow, vault_id: bytes) -> None:
    if not isinstance(wrapper, OpenBaoWrapper):
        _require_shut(wrapper, row, vault_id)
    elif not wrapper.rewrap_needed(row.wrapped) and _opens(wrapper, row, vault_id):
        # Whatever address or name it went by when it sealed: it is the same key.
        _make_next_version(wrapper, row)


def _require_shut(wrapper: KeyWrapper, row: RootRow, vault_id: bytes) -> None:
    if not _opens(wrapper, row, vault_id):
        return
    hint = "choose another"
    if row.kind in {"pkcs11", "aws_kms"}:
        hint = f"make another key, name it in the table [{row.kind}], and add --from-recovery"
    raise ConflictError(
        f"what is to seal the new root key opens root key {row.version} as well, which is to end: {hint}"
    )


def _opens(wrapper: KeyWrapper, row: RootRow, vault_id: bytes) -> bool:
    try:
        RootKey.open(wrapper, row.wrapped, vault_id=vault_id, version=row.version, slot=RootSlot(row.slot))
    except DecryptionError:
        return False
    return True


def _make_next_version(wrapper: OpenBaoWrapper, row: RootRow) -> None:
    try:
        wrapper.rotate()
    except WrapperUnavailableError as error:
        if error.rule != "denied":
            raise
        raise ConflictError(
            f"root key {row.version} is under the newest version of the transit key, which is to end; make"
            f" another, as somebody who may: bao write -f {_place(wrapper.describe())}/rotate"
        ) from None


def _place(told: str) -> str:
    """Return the path of a transit key in what was told of it."""
    return told.rpartition(" ")[2]


def end_copy(settings: Settings, row: RootRow, in_force: Sequence[RootRow], *, delete_in_kms: bool) -> Ending:
    """End what opens ``row``, as far as this host reaches it; a person has confirmed the rest.

    Done twice it is the same. Raises ConflictError when it seals a root key in
    force as well or is still there, UnavailableError when it cannot be reached.
    """
    if ":alias/" in row.sealed_by:
        # Which key an alias stood for when it sealed this, nobody knows any more.
        return Ending(CONFIRMED)
    if row.kind in _ENDINGS and row.sealed_by in {other.sealed_by for other in in_force} - {""}:
        raise ConflictError(
            f"{row.sealed_by} seals the root key in force, too: seal that by another (piivault keys root"
            " rotate), then go on"
        )
    _require_another_version(row, in_force)
    if row.kind not in _ENDINGS or (row.kind == "aws_kms" and not delete_in_kms):
        return Ending(CONFIRMED)
    try:
        if row.kind == "aws_kms":
            _require_another_key(settings, row, in_force)
        return _ENDINGS[row.kind](settings, row)
    except KeysError as error:
        rule = error.rule if isinstance(error, WrapperUnavailableError) else ""
        raise UnavailableError(f"an old copy cannot be ended: {error}", reference=rule) from None


def _require_another_version(row: RootRow, in_force: Sequence[RootRow]) -> None:
    """Refuse a version of a transit key that seals one in force by another address, or may be the same.

    Which server an address stood for when it sealed ``row``, nobody knows any more.
    """
    told = _TRANSIT(row.sealed_by)
    for other in in_force:
        now = _TRANSIT(other.sealed_by)
        if told and now and (_place(told[1]), told[2]) == (_place(now[1]), now[2]):
            place = _place(now[1])
            raise ConflictError(
                f"{now[0]} seals the root key in force, and may be the same by another address: bao write -f"
                f" {place}/rotate, then piivault keys root rotate, then go on"
            )


def _require_another_key(settings: Settings, row: RootRow, in_force: Sequence[RootRow]) -> None:
    """Refuse a key of KMS that seals one in force, by whichever of its names. KMS itself is asked.

    Raises ConflictError, WrapperUnavailableError when one of them cannot be resolved.
    """
    using = [other for other in in_force if other.kind == "aws_kms"]
    wrappers: list[KeyWrapper | None] = [_kms(settings, other.sealed_by) for other in using]
    # What the settings name opens it now, whatever was told when it was sealed.
    wrappers += [wrapper_of(settings, nobody, other) for other in using]
    old = _kms(settings, row.sealed_by)
    for wrapper in wrappers:
        if old is None or not isinstance(wrapper, AwsKmsWrapper) or not old.names() & wrapper.names():
            continue
        raise ConflictError(
            f"{row.sealed_by} seals the root key in force, too, as {wrapper.describe()}: seal that by another"
            " (piivault keys root rotate), then go on"
        )


def _kms(settings: Settings, sealed_by: str) -> AwsKmsWrapper | None:
    told = _KMS(sealed_by)
    if told is None:
        return None
    endpoint = settings.wrappers.get("aws_kms", {}).get("endpoint", "")
    return AwsKmsWrapper(told[1], region=told[2], endpoint=endpoint or None)


def _end_file(settings: Settings, row: RootRow) -> Ending:
    path, told = _path(settings, row), _FILE(row.sealed_by)
    if path is None:
        return Ending(CONFIRMED)
    if told is None:
        return _gone(path)
    try:
        KeyFileWrapper.destroy(path, told[2])
    except WrapperUnavailableError as error:
        if error.rule != "missing":
            raise
        return Ending("absent")
    return Ending("overwritten")


def _gone(path: Path) -> Ending:
    """Return that nothing lies where a key file without a fingerprint was. Raises ConflictError."""
    if path.exists() or path.is_symlink():
        raise ConflictError(
            f"a release without fingerprints made the key file {path}, so nobody can tell whether this is it:"
            " overwrite and remove it yourself (shred -u), or move aside what is another's, then go on"
        )
    return Ending("absent")


def _end_version(settings: Settings, row: RootRow) -> Ending:
    told = _TRANSIT(row.sealed_by)
    if told is None or "openbao" not in settings.wrappers:
        return Ending(CONFIRMED)
    wrapper, version = wrapper_of(settings, nobody, row), int(told[2])
    if not isinstance(wrapper, OpenBaoWrapper) or wrapper.describe() != told[1]:
        return Ending(CONFIRMED)
    try:
        if wrapper.current_version() == version:
            # The newest one cannot be removed.
            wrapper.rotate()
        wrapper.end_versions_before(version + 1)
    except WrapperUnavailableError as error:
        if error.rule == "missing_key":
            return Ending("absent")
        if error.rule != "denied":
            raise
        return _ended_by_others(wrapper, version)
    return Ending("removed")


def _ended_by_others(wrapper: OpenBaoWrapper, version: int) -> Ending:
    """Look whether somebody who may has ended ``version``, where the token of the vault may not."""
    if wrapper.oldest_version() > version:
        return Ending("disallowed")
    place, least = _place(wrapper.describe()), version + 1
    raise ConflictError(
        f"version {version} of the transit key still opens, and the token may not end it. As somebody who"
        f" may: bao write {place}/config min_decryption_version={least} min_encryption_version={least}, then"
        f" bao write {place}/trim min_available_version={least}"
    )


def _end_in_token(settings: Settings, row: RootRow) -> Ending:
    if "pkcs11" not in settings.wrappers:
        return Ending(CONFIRMED)
    own = Table(settings, "pkcs11")
    before = f"PKCS#11 token {own.text('token')}, key "
    if not row.sealed_by.startswith(before):
        return Ending(CONFIRMED)
    pin, label = read_token(own.path("pin_file"), what="PIN file"), row.sealed_by.removeprefix(before)
    there = Pkcs11Wrapper.destroy_key(own.path("module"), own.text("token"), label, pin)
    return Ending("destroyed" if there else "absent")


def _end_in_kms(settings: Settings, row: RootRow) -> Ending:
    wrapper = _kms(settings, row.sealed_by)
    if wrapper is None:
        return Ending(CONFIRMED)
    at = wrapper.schedule_deletion(KMS_DAYS)
    return Ending("scheduled", int(at.timestamp() * 1_000_000))


_ENDINGS: Final[Mapping[str, Callable[[Settings, RootRow], Ending]]] = MappingProxyType(
    {"file": _end_file, "openbao": _end_version, "pkcs11": _end_in_token, "aws_kms": _end_in_kms}
)
