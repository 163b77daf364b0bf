"""Sealed copies of a root key: made, and stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from keys.errors import MalformedError, WrapperUnavailableError
from keys.keyring import KeySealer, rewrap_key
from keys.rootkey import RootKey, RootSlot
from keys.states import KeyState
from keys.wrappers import KeyWrapper
from vault.assembly.wrapping import Made, Sealing, made
from vault.domain.errors import ConflictError, InvalidInputError, UnavailableError
from vault.settings import Settings
from vault.storage import keys as key_rows
from vault.storage.database import Connection
from vault.storage.roots import RootRow


@contextmanager
def sealing_faults() -> Iterator[None]:
    """Turn what the keys say of a wrapper into errors that name what to do."""
    try:
        yield
    except MalformedError as error:
        raise InvalidInputError(
            f"the root key cannot be sealed like this: {error.rule}", field="root_key", rule=error.rule
        ) from None
    except WrapperUnavailableError as error:
        if error.rule == "exists":
            raise ConflictError(f"{error.message} is there already, and seals nothing: remove it") from None
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
    root, recovery = sealing.root, sealing.recovery
    if root.kind == recovery.kind and (root.kind not in OFTEN or root.file == recovery.file is not None):
        raise InvalidInputError("the recovery copy needs another holder", field="recovery", rule="same")
    if recovery.kind == "file" and recovery.file is None:
        raise InvalidInputError("a recovery file needs a path", field="recovery", rule="required")
    if root.file is not None:
        raise InvalidInputError("the key file has its place in the settings", field="root_key", rule="path")
    if recovery.kind not in OFTEN:
        raise InvalidInputError("a file, a passphrase or shares", field="recovery", rule="choice")
    sealers = {}
    for slot, new in ((RootSlot.LIVE, root), (RootSlot.RECOVERY, recovery)):
        sealers[slot] = made(settings, sealing.ask, new, version)
        file = sealers[slot].file
        if file is not None:
            files.append(file)
    return sealers


def sealed_copies(
    root: RootKey, sealers: Mapping[RootSlot, KeyWrapper], *, vault_id: bytes, now_us: int
) -> list[RootRow]:
    """Return ``root`` as each wrapper seals it, to be stored. May take long, so no transaction is open.

    Raises WrapperUnavailableError, MalformedError.
    """
    return [
        RootRow(
            version=root.version,
            slot=slot.value,
            kind=wrapper.kind,
            state="active",
            wrapped=root.sealed_by(wrapper, vault_id=vault_id, slot=slot),
            created_at=now_us,
        )
        for slot, wrapper in sealers.items()
    ]


def reseal_all(connection: Connection, vault_id: bytes, *, old: KeySealer, new: KeySealer) -> None:
    """Seal every named key under ``new`` instead of ``old``. Raises DecryptionError."""
    for record in key_rows.read_keys(connection):
        if record.state is not KeyState.DESTROYED:
            key_rows.replace_wrapped(connection, rewrap_key(record, vault_id=vault_id, old=old, new=new))
