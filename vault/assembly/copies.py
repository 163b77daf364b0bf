"""Sealed copies of a root key: made, and stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from keys.errors import KeysError, MalformedError, WrapperUnavailableError
from keys.keyring import KeySealer, rewrap_key
from keys.rootkey import RootKey, RootSlot
from keys.secret import SecretText
from keys.states import KeyState
from keys.wrappers import KeyWrapper
from keys.wrappers.transit import version_of
from vault.assembly.wrapping import FILE, PRINTED_SHARES, Ask, Made, Sealing, made
from vault.domain.errors import ConflictError, InvalidInputError, UnavailableError
from vault.settings import Settings
from vault.storage import keys as key_rows
from vault.storage.database import Connection
from vault.storage.roots import RootRow

RULES: Final = {
    "passphrase_length": "a passphrase has at least 12 characters",
    "threshold": "shares: shamir:K/N with 2 <= K <= N <= 16",
    "shares": "shares: shamir:K/N with 2 <= K <= N <= 16",
    "text": "a passphrase is text",
}


@contextmanager
def sealing_faults() -> Iterator[None]:
    """Turn what the keys say of a wrapper into errors that name what to do."""
    try:
        yield
    except MalformedError as error:
        detail = RULES.get(error.rule, f"the root key cannot be sealed like this: {error.rule}")
        raise InvalidInputError(detail, field="root_key", rule=error.rule) from None
    except WrapperUnavailableError as error:
        if error.rule == "exists":
            raise ConflictError(
                f"{error.message} is there already: it may belong to a copy of this vault or to another one;"
                " move it aside, and keep it until you know"
            ) from None
        if error.rule == "unwritable":
            raise UnavailableError(f"{error.message} cannot be written") from None
        raise UnavailableError(f"the root key cannot be sealed: {error}") from None


OFTEN = frozenset({"file", "shamir", "passphrase"})
"""Kinds of which one vault may well have two: two files, two sets of shares, two passphrases."""


def both_wrappers(
    settings: Settings, sealing: Sealing, version: int, files: list[Path]
) -> dict[RootSlot, Made]:
    """Make what seals a root key, and what seals its copy: something else, or both would be lost at once.

    Appends to ``files`` each key file as soon as it is there. Raises
    InvalidInputError, WrapperUnavailableError.
    """
    root, recovery = sealing.root or FILE, sealing.recovery or PRINTED_SHARES
    if root.kind == recovery.kind and (root.kind not in OFTEN or root.file == recovery.file is not None):
        raise InvalidInputError("the recovery copy needs another holder", field="recovery", rule="same")
    if recovery.kind == "file" and recovery.file is None:
        raise InvalidInputError("a recovery file needs a path", field="recovery", rule="required")
    if recovery.file is not None and recovery.file.resolve().is_relative_to(settings.home.resolve()):
        raise InvalidInputError("not beside the database: elsewhere", field="recovery", rule="inside")
    if root.file is not None:
        raise InvalidInputError("the key file has its place in the settings", field="root_key", rule="path")
    if recovery.kind not in OFTEN:
        raise InvalidInputError("a file, a passphrase or shares", field="recovery", rule="choice")
    sealers = {}
    asked = _Different(sealing.ask)
    # The key file last: whatever is asked before may take long or fail.
    for slot, new in ((RootSlot.RECOVERY, recovery), (RootSlot.LIVE, root)):
        sealers[slot] = made(settings, partial(asked, slot), new, version)
        file = sealers[slot].file
        if file is not None:
            files.append(file)
    return sealers


class _Different:
    """Asks, and refuses what was answered before."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._given: list[SecretText] = []

    def __call__(self, slot: RootSlot, what: str) -> SecretText:
        answer = self._ask(f"new {what}" if slot is RootSlot.LIVE else f"new {what} for recovery")
        if answer.expose() in [given.expose() for given in self._given]:
            raise InvalidInputError("recovery needs another passphrase", field="recovery", rule="same")
        self._given.append(answer)
        return answer


def sealed_copies(
    root: RootKey, sealers: Mapping[RootSlot, KeyWrapper], *, vault_id: bytes, now_us: int
) -> list[RootRow]:
    """Return ``root`` as each wrapper seals it, to be stored. May take long, so no transaction is open.

    Raises WrapperUnavailableError, MalformedError.
    """
    copies = []
    for slot, wrapper in sealers.items():
        wrapped = root.sealed_by(wrapper, vault_id=vault_id, slot=slot)
        copies.append(
            RootRow(
                version=root.version,
                slot=slot.value,
                kind=wrapper.kind,
                state="active",
                wrapped=wrapped,
                created_at=now_us,
                sealed_by=_told(wrapper, wrapped),
            )
        )
    return copies


def _told(wrapper: KeyWrapper, wrapped: bytes) -> str:
    """Return what sealed ``wrapped``; of a transit key also which version of it."""
    version = version_of(wrapped) if wrapper.kind == "openbao" else None
    return wrapper.describe() if version is None else f"{wrapper.describe()}, version {version}"


def reseal_all(connection: Connection, vault_id: bytes, *, old: KeySealer, new: KeySealer) -> None:
    """Seal every named key under ``new`` instead of ``old``. Raises UnavailableError."""
    for record in key_rows.read_keys(connection):
        if record.state is not KeyState.DESTROYED:
            try:
                resealed = rewrap_key(record, vault_id=vault_id, old=old, new=new)
            except KeysError:
                raise UnavailableError(f"the key {record.name} does not open; nothing was changed") from None
            key_rows.replace_wrapped(connection, resealed)
