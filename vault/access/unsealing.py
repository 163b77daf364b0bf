"""Unseal by hand: the passphrase, or share by share, until the root key opens.

What is given is kept for ten minutes, and no longer than until it has opened
the root key or has failed to. Nobody is asked who they are: whoever brings the
passphrase, or shares enough, is the proof, and the log says from where.

What was refused is counted for the log, which cannot be written before. After
each refusal everybody waits: a second after a share that is none of ours, and
twice as long each time, up to half a minute, after what did not open. One
passphrase is tried at a time: each try takes the memory of an Argon2 hash.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from keys.errors import DecryptionError, MalformedError, WrapperUnavailableError
from keys.keyring import Keyring
from keys.rootkey import RootKey, RootSlot
from keys.secret import SecretText
from keys.wrappers import KeyWrapper
from keys.wrappers.passphrase import PassphraseWrapper
from keys.wrappers.shamir import ShareCollector
from vault.access.entries import Request, entry
from vault.access.identities import MINUTE_US, SECOND_US
from vault.access.roots import in_force
from vault.access.standing import PEOPLE, Standing, Standings, Why
from vault.access.strangers import Strangers
from vault.audit.journal import Journal
from vault.domain.actions import Action
from vault.domain.errors import (
    ConflictError,
    InvalidInputError,
    SealedError,
    TooManyAttemptsError,
    UnavailableError,
)
from vault.domain.model import Actor, ActorKind, Origin
from vault.storage.database import Counter, Database
from vault.storage.errors import RolledBackError, StaleRevisionError
from vault.storage.maintenance import clear_sealed
from vault.storage.roots import RootRow, read_roots

KEPT_US: Final = 10 * MINUTE_US
"""So long after the last one shares are kept that nobody adds to."""

REFUSED_US: Final = SECOND_US
LONGEST_US: Final = 30 * SECOND_US
DOUBLINGS: Final = 6

ATTEMPTS: Final = 8
"""Other nodes may change things meanwhile."""

UNSEALER: Final = Actor(kind=ActorKind.OPERATOR, id="unseal", name="unseal")
"""Whoever brings what opens the root key; the entry says from which address."""


_SEALED_SINCE: Final = "the vault was sealed meanwhile; if it is to be unsealed, begin again"


class _Refusal(NamedTuple):
    """What is said of a thing that was given in vain."""

    field: str
    rule: str
    detail: str


_WRONG_SHARES: Final = _Refusal(
    "share",
    "shares_mismatch",
    "these shares do not give the root key in force: all of them are dropped, begin again",
)
_WRONG_PASSPHRASE: Final = _Refusal(
    "passphrase", "wrong", "this passphrase does not open the root key in force"
)


@dataclass(frozen=True, slots=True)
class SealState:
    """Whether this process serves, and what it waits for."""

    why: Why | None
    """Why it does not; None when it does."""
    holder: str
    """Kind of what holds the root key in force."""
    given: int
    """Shares that are collected."""
    needed: int | None
    """Shares that are needed; None before the first one says so, and where no shares are."""

    @property
    def by_people(self) -> bool:
        """Whether the root key opens by what a person types, and by nothing else."""
        return self.holder in PEOPLE


class Unsealing:
    """What has been given towards the root key. Thread-safe."""

    def __init__(self, database: Database, standings: Standings, strangers: Strangers) -> None:
        self._database = database
        self._standings = standings
        self._strangers = strangers
        self._lock = threading.Lock()
        self._shares = _Shares()
        self._wrong = 0
        self._not_before_us = 0

    def state(self) -> SealState:
        """Return how far it is. Raises UnavailableError when the database cannot be asked."""
        holder = self._row()[0].kind
        shares = self._shares
        sealed = self._standings.sealed
        return SealState(None if sealed is None else sealed.why, holder, shares.given, shares.needed)

    def give_share(self, share: SecretText, *, origin: Origin, now_us: int) -> int | None:
        """Take one share; return the log index of the unseal, None while more shares are needed.

        Raises InvalidInputError: share_malformed, share_of_another_set,
        share_duplicate (the others are kept), shares_mismatch (all are dropped).
        Raises ConflictError when the vault is open or shares are not what it
        needs, TooManyAttemptsError, UnavailableError.
        """
        request = Request(actor=UNSEALER, origin=origin, now_us=now_us)
        with self._alone():
            row, found = self._require_due("shamir", now_us)
            begun = self._begun(found)
            try:
                enough = self._shares.add(share, now_us)
            except WrapperUnavailableError as error:
                detail = f"this share is refused: {error.rule}; {error.hint}"
                refusal = _Refusal("share", error.rule, detail)
                raise self._refuse(refusal, request, wait_us=REFUSED_US) from None
            if not enough:
                return None
            shares, self._shares = self._shares, _Shares()
            root, told = self._opened(
                shares.wrapper, row, begun.vault_id, refusal=_WRONG_SHARES, request=request
            )
            target = {"holder": row.kind, "shares": str(shares.given)}
            return self._finish(root, told, request, target=target, begun=begun)

    def give_passphrase(self, passphrase: SecretText, *, origin: Origin, now_us: int) -> int:
        """Open the root key by its passphrase; return the log index of the unseal. Takes an Argon2 hash.

        Raises InvalidInputError: wrong. Raises ConflictError, TooManyAttemptsError
        and UnavailableError as ``give_share`` does.
        """
        request = Request(actor=UNSEALER, origin=origin, now_us=now_us)
        with self._alone():
            row, begun = self._require_due("passphrase", now_us)
            root, told = self._opened(
                lambda: PassphraseWrapper(passphrase),
                row,
                begun.vault_id,
                refusal=_WRONG_PASSPHRASE,
                request=request,
            )
            return self._finish(root, told, request, target={"holder": row.kind}, begun=begun)

    def drop(self) -> None:
        """Drop what was collected."""
        with self._lock:
            self._shares = _Shares()

    def tidy(self, now_us: int) -> None:
        """Drop shares that nobody has added to for ten minutes. For a timer."""
        if self._shares.given and now_us >= self._shares.last_us + KEPT_US:
            self.drop()

    def _row(self) -> tuple[RootRow, Counter]:
        with self._database.reading() as connection:
            return in_force(read_roots(connection), RootSlot.LIVE), self._database.counter(connection)

    def _begun(self, found: Counter) -> Counter:
        """Return how the vault was when the first share was given; drop all if it was sealed since."""
        begun = self._shares.begun
        if begun is None or self._shares.given == 0:
            self._shares.begun = begun = found
        try:
            _require_no_seal_since(begun, sealed=found.sealed, revision=found.revision)
        except ConflictError:
            self._shares = _Shares()
            raise
        return begun

    def _require_due(self, kind: str, now_us: int) -> tuple[RootRow, Counter]:
        """Return the copy to be opened and how the vault is, if it is time and this is what opens it."""
        if self._standings.sealed is None:
            raise ConflictError("the vault is not sealed")
        if now_us < self._not_before_us:
            seconds = -(-(self._not_before_us - now_us) // SECOND_US)
            raise TooManyAttemptsError("too many attempts to unseal; come back later", retry_after=seconds)
        if now_us >= self._shares.last_us + KEPT_US:
            self._shares = _Shares()
        row, found = self._row()
        if row.kind not in PEOPLE:
            raise ConflictError(
                f"the root key is held by {row.kind}, which opens without a person: unseal on the host, with"
                " piivault unseal --home"
            )
        if row.kind != kind:
            raise ConflictError(f"the root key is held by {row.kind}: this is not what opens it")
        return row, found

    def _opened(
        self,
        make: Callable[[], KeyWrapper],
        row: RootRow,
        vault_id: bytes,
        *,
        refusal: _Refusal,
        request: Request,
    ) -> tuple[RootKey, str]:
        """Return the root key and what sealed it; what does not open it is refused as ``refusal``."""
        try:
            wrapper = make()
            slot = RootSlot(row.slot)
            root = RootKey.open(wrapper, row.wrapped, vault_id=vault_id, version=row.version, slot=slot)
        except (DecryptionError, MalformedError):
            pass
        except WrapperUnavailableError as error:
            if error.rule == "resources":
                raise UnavailableError(f"the root key cannot be opened now: {error}") from None
        else:
            self._wrong = 0
            return root, wrapper.describe()
        # Raised here, where no error is handled whose frames hold what was given.
        wait_us = min(SECOND_US << min(self._wrong, DOUBLINGS), LONGEST_US)
        self._wrong += 1
        raise self._refuse(refusal, request, wait_us=wait_us)

    def _refuse(self, refusal: _Refusal, request: Request, *, wait_us: int) -> InvalidInputError:
        """Count a refusal for the log and let everybody wait; return its error."""
        self._not_before_us = request.now_us + wait_us
        error = InvalidInputError(refusal.detail, field=refusal.field, rule=refusal.rule)
        self._strangers.note(
            Action.VAULT_UNSEAL, request.origin.address, request.now_us, error=error.code, rule=refusal.rule
        )
        return error

    def _finish(
        self, root: RootKey, told: str, request: Request, *, target: dict[str, str], begun: Counter
    ) -> int:
        standing, index = unseal(self._database, self._standings, root, request, target=target, begun=begun)
        self._standings.hold(root, told, standing)
        return index

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let nobody else try meanwhile. Raises TooManyAttemptsError at once, so that nobody queues up."""
        if not self._lock.acquire(blocking=False):
            raise TooManyAttemptsError("somebody else is unsealing at this moment", retry_after=1)
        try:
            yield
        finally:
            self._lock.release()


def unseal(
    database: Database,
    standings: Standings,
    root: RootKey,
    request: Request,
    *,
    target: dict[str, str],
    begun: Counter,
) -> tuple[Standing, int]:
    """Clear the vault's flag, if it is set, and log that it was unsealed; in one transaction.

    ``begun`` is how the vault was before anybody was asked for anything. Returns
    the standing under ``root``, to be held, and the index of the entry. Raises
    ConflictError when the vault was sealed since, or again since, or the root key
    was changed, UnavailableError. Nothing is cleared then.
    """
    for _ in range(ATTEMPTS):
        found = standings.read_with(root)
        if found is None:
            raise ConflictError("another root key is in force since: begin again")
        standing, sealed = found
        _require_no_seal_since(begun, sealed=sealed, revision=standing.revision)
        said = {**target, "version": str(root.version), "flag": "cleared" if sealed else "clear"}
        try:
            with Journal(database, _keyring_of(standing)).unit() as unit:
                if sealed:
                    clear_sealed(unit.connection)
                entries = [entry(request, Action.VAULT_UNSEAL, target=said)]
                unit.append(entries, revision=standing.revision, revise=sealed)
        except (StaleRevisionError, RolledBackError):
            continue
        except SealedError:
            raise ConflictError(_SEALED_SINCE) from None
        return standing, unit.receipts[0].index
    raise ConflictError("this was changed by others at the same time; ask again")


def _require_no_seal_since(begun: Counter, *, sealed: bool, revision: int) -> None:
    """Let an unseal undo no seal that is younger than itself. Raises ConflictError."""
    # A sealed vault takes no append: where the revision moved, it was unsealed and sealed again.
    if sealed and not (begun.sealed and begun.revision == revision):
        raise ConflictError(_SEALED_SINCE)


def _keyring_of(standing: Standing) -> Callable[[], Keyring]:
    return lambda: standing.keyring


class _Shares:
    """One collection of shares."""

    def __init__(self) -> None:
        self._collector = ShareCollector()
        self.given = 0
        self.needed: int | None = None
        self.last_us = 0
        self.begun: Counter | None = None

    def add(self, share: SecretText, now_us: int) -> bool:
        """Take a share and say whether they are enough. Raises WrapperUnavailableError and keeps the rest."""
        progress = self._collector.add(share)
        self.given, self.needed, self.last_us = progress.given, progress.needed, now_us
        return progress.given >= progress.needed

    def wrapper(self) -> KeyWrapper:
        """Return what they give. Raises WrapperUnavailableError."""
        return self._collector.wrapper()
