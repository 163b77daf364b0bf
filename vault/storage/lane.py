"""The coalescing lane: one unit of work in flight, whatever arrives meanwhile forms the next.

No timer, so a lone request waits for nobody; under load one flush to disk
serves everyone who came in during the last one.

The rules, in the order :meth:`Lane._run` applies them:

1. The revision, or a token that was to be written, moved between decision and append: nothing was written.
   Reload, decide again.
2. The database refused and the rollback is certain: split the unit and try the
   halves, so that no caller fails another; a work that fails alone gets the error,
   unless another writer may just have made the data key it needs: then it is tried again.
3. A commit was sent and its answer lost, or nothing can be done now: every
   caller of the unit is told so and nothing is retried. After
   ``outcome_unknown`` the writer starts a new counter, since nobody knows
   whether the old one moved.
4. Anything else is a fault of ours: the unit fails, the lane lives. (One that concerns a single work has been
   taken for a refusal of that work before it comes here.)
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final, Generic, Protocol, TypeVar

from vault.domain.errors import OutcomeUnknownError, SealedError, UnavailableError, VaultError
from vault.domain.faults import describe
from vault.storage.append import LogUnit
from vault.storage.errors import RolledBackError, StaleRevisionError
from vault.storage.hot import HotConnection, Writes

LOGGER: Final = logging.getLogger("piivault")

UNIT_ITEMS: Final = 2_000
"""Cap of a unit: two full batches; more only makes everyone wait longer for one flush."""

PENDING_ITEMS: Final = 64_000
"""Cap of what waits: about two seconds of work, then callers are told to come back."""

STALE_ATTEMPTS: Final = 8
"""A revision that moves eight times in a row means somebody is raising it in a loop."""


class _Sign(Enum):
    """What is handed to the lane's thread beside works. It comes after the works handed over before it."""

    STOP = auto()
    FORGET = auto()


class Work(Protocol):
    """One request on its way through the lane."""

    @property
    def size(self) -> int:
        """Number of items, at least 1."""
        ...

    def fail(self, error: VaultError) -> None:
        """Take the error: nothing of this work was released."""
        ...


class Prepared(Protocol):
    """A unit, decided, read, sealed or opened, ready to be made durable."""

    @property
    def unit(self) -> LogUnit:
        """Its log entries."""
        ...

    @property
    def writes(self) -> Writes:
        """Its rows."""
        ...

    @property
    def revision(self) -> int:
        """The revision it was decided at."""
        ...


W = TypeVar("W", bound=Work)
P = TypeVar("P", bound=Prepared)
W_contra = TypeVar("W_contra", bound=Work, contravariant=True)


class Preparer(Protocol[W_contra, P]):
    """What turns works into a unit. Called only from the lane's thread."""

    def prepare(self, works: Sequence[W_contra], connection: HotConnection) -> P:
        """Decide, read, seal and open; do not write."""
        ...

    def settled(self, prepared: P, first: int) -> None:
        """Tell the works that their unit is durable from log index ``first``. Does not raise."""
        ...

    def stale(self) -> None:
        """Reload what decisions depend on."""
        ...

    def unknown(self) -> None:
        """Start a new writer counter."""
        ...

    def forget(self) -> None:
        """Drop every key held in memory."""
        ...


class Lane(Generic[W, P]):
    """A thread that owns one connection and runs units one after another."""

    def __init__(self, preparer: Preparer[W, P], connection: HotConnection) -> None:
        self._preparer = preparer
        self._connection = connection
        self._queue: queue.SimpleQueue[W | _Sign] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._pending = 0
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="lane", daemon=True)
        self._thread.start()

    def submit(self, work: W) -> None:
        """Hand over one work. Raises UnavailableError when too much waits already, or after ``close``."""
        size = work.size
        with self._lock:
            if self._closed:
                raise UnavailableError("the vault is closing")
            if self._pending > PENDING_ITEMS:
                raise UnavailableError("too much work is waiting")
            self._pending += size
            self._queue.put(work)

    def forget(self) -> None:
        """Have every key dropped that the lane's thread holds, once it is done with what was handed over."""
        self._queue.put(_Sign.FORGET)

    def close(self) -> None:
        """Finish what was handed over, then stop and close the connection."""
        with self._lock:
            # Under the lock, so that nothing is handed over after the stop sign.
            self._closed = True
            self._queue.put(_Sign.STOP)
        self._thread.join()

    def _loop(self) -> None:
        sign = None
        while sign is not _Sign.STOP:
            sign = self._turn(self._queue.get())
        self._connection.close()

    def _turn(self, found: W | _Sign) -> _Sign | None:
        """Run one unit, or heed a sign; return the sign that was met. Nothing of a unit outlives it here."""
        sign = found if isinstance(found, _Sign) else None
        if not isinstance(found, _Sign):
            works, sign = self._gather(found)
            self._run(works, STALE_ATTEMPTS)
        if sign is _Sign.FORGET:
            self._preparer.forget()
        return sign

    def _gather(self, first: W) -> tuple[list[W], _Sign | None]:
        """Take what has arrived, up to the cap or the next sign, which is returned too."""
        works = [first]
        items = first.size
        sign: _Sign | None = None
        while items < UNIT_ITEMS:
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                break
            if isinstance(work, _Sign):
                sign = work
                break
            works.append(work)
            items += work.size
        with self._lock:
            self._pending -= items
        return works, sign

    def _run(self, works: Sequence[W], attempts: int) -> None:
        contended = False
        try:
            prepared = self._preparer.prepare(works, self._connection)
            contended = prepared.writes.contended
            first = self._connection.commit(prepared.unit, prepared.writes, prepared.revision)
        except StaleRevisionError:
            self._again(works, attempts)
        except RolledBackError as error:
            if contended and len(works) == 1 and attempts > 0:
                self._run(works, attempts - 1)
            else:
                self._halve(works, attempts, error)
        except VaultError as error:
            if isinstance(error, OutcomeUnknownError):
                self._preparer.unknown()
            if isinstance(error, SealedError):
                # What is held was sealed since, on this node or another.
                self._preparer.stale()
            _fail(works, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours must fail this unit, not the lane
            self._preparer.unknown()
            _fault(works, error)
        else:
            self._settle(works, prepared, first)

    def _settle(self, works: Sequence[W], prepared: P, first: int) -> None:
        try:
            self._preparer.settled(prepared, first)
        except Exception as error:  # noqa: BLE001 - as above; whoever has no answer yet gets one
            _fault(works, error)

    def _again(self, works: Sequence[W], attempts: int) -> None:
        if attempts == 0:
            _fail(works, UnavailableError("decisions change faster than they can be made"))
            return
        try:
            self._preparer.stale()
        except VaultError as error:
            _fail(works, error)
        except Exception as error:  # noqa: BLE001 - as above
            _fault(works, error)
        else:
            self._run(works, attempts - 1)

    def _halve(self, works: Sequence[W], attempts: int, error: VaultError) -> None:
        if len(works) == 1:
            _fail(works, error)
            return
        middle = len(works) // 2
        self._run(works[:middle], attempts)
        self._run(works[middle:], attempts)


def _fault(works: Sequence[Work], error: Exception) -> None:
    LOGGER.error("a unit failed: %s", describe(error))  # a traceback would quote values
    _fail(works, VaultError())


def _fail(works: Sequence[Work], error: VaultError) -> None:
    for work in works:
        try:
            work.fail(error)
        except Exception as fault:  # noqa: BLE001 - one caller who cannot be told keeps nobody from it
            LOGGER.error("a caller could not be told: %s", describe(fault))  # noqa: TRY400 - as above
