"""Say that somebody else may have a key: nothing new hangs on it, and what does is moved to others.

One administrator is enough, since nothing becomes possible that was not. With
the mark, in one transaction, a successor is put in force where the key was, and
the job starts that takes away from the key what hangs on it. It raises the
revision: on every node, nothing that is logged later is protected by the key.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hmac import compare_digest
from typing import Final

from keys.errors import IllegalTransitionError
from keys.keyring import KeyKind, KeyRecord, generate_key
from keys.states import KeyState, require_transition
from keys.tokens import DecodedToken, TokenKind
from vault.access.changes import Attempt, Change, Changes, Made
from vault.access.entries import Request
from vault.access.standing import Standing
from vault.domain.actions import Action
from vault.domain.errors import ConflictError, InvalidInputError, NotFoundError
from vault.rotation import cursors, redigest, reencrypt
from vault.rotation.jobs import JobView, begin, running_jobs, view
from vault.rotation.names import named, require_reason, require_scope
from vault.storage import digests, suspects
from vault.storage import jobs as job_rows
from vault.storage import keys as rows
from vault.storage.database import Connection
from vault.storage.errors import RolledBackError
from vault.storage.jobs import JobRow
from vault.storage.suspects import SubjectName

Also = tuple[tuple[Action, dict[str, str]], ...]

COMPROMISABLE: Final = frozenset({KeyKind.WRAPPING, KeyKind.LOOKUP})
"""Kinds that what hangs on them can be moved away from at once."""

OVER: Final = frozenset({KeyState.COMPROMISED, KeyState.DESTROYED})
"""States of a key that nothing new hangs on any more, whatever was known when."""

MARKED: Final = 20_000
FEWEST_MARKED: Final = 200
"""Data keys marked in one transaction: at most, and where longer ones are overtaken by what others change."""

FIRST: Final = -1
"""Before the first subject."""

NO_SUBJECT: Final = "there is no such subject"


@dataclass(frozen=True, slots=True)
class Compromised:
    """What was done about it."""

    key: str
    """Name of the key; empty where the data keys of one subject were meant."""
    successor: int | None
    """Version that is in force in its place; None when it was not in force."""
    suspect: int
    """Suspect data keys there are now; of a lookup key, digests that hang on older versions."""
    job: JobView | None
    """What moves them; None when another scope's digests have to be made first."""


def compromise(
    changes: Changes, request: Request, *, kind: KeyKind, scope: str, version: int, everybody: bool = False
) -> Made[Compromised]:
    """Mark a key compromised. For administrators.

    ``everybody``: every data key there is counts as suspect, too; for an epoch
    that data keys were re-wrapped away from after somebody may have had it. It
    may be said later of a key that is marked or destroyed already. Raises AccessDeniedError,
    NotFoundError, InvalidInputError (a kind that does not rotate, no reason),
    ConflictError for any other use of such a key.
    """
    target = {"key": f"{kind.value}/{require_scope(scope)}/{version}"}

    def look(connection: Connection, standing: Standing) -> int:
        if kind is KeyKind.WRAPPING:
            return suspects.count_suspect(connection, standing.keyring.compromised_epochs | {version})
        return _digests_outside(connection, standing, scope, version)

    # Before, and once: nobody may have to wait for the mark until everything is counted in it.
    count = changes.foresee(request, Action.KEY_COMPROMISE, look, target=target)

    def act(attempt: Attempt) -> Change[Compromised]:
        require_reason(request)
        _require_sensible(kind, everybody=everybody)
        versions = [
            record
            for record in rows.read_keys(attempt.connection)
            if (record.kind, record.scope) == (kind, scope)
        ]
        record = next((record for record in versions if record.version == version), None)
        if record is None:
            raise NotFoundError("there is no such key")
        state = record.state if everybody and record.state in OVER else _mark(attempt, record)
        successor = succeed(changes, attempt, record, versions)
        in_force = successor or _active(versions)
        if kind is KeyKind.WRAPPING:
            moving = _reencrypt(attempt, in_force, count)
        else:
            moving = _redigest(attempt, scope, count)
        said = {**target, "from": record.state.value, "to": state.value}
        said["data_keys" if kind is KeyKind.WRAPPING else "digests"] = str(moving.count)
        if everybody:
            said["everybody"] = "yes"
        value = Compromised(record.name, successor, moving.count, moving.seen)
        return Change(value, said, revises=True, also=(*replaced(record, successor), *moving.said))

    made = changes.make(request, Action.KEY_COMPROMISE, act, target=target)
    return _everybody(changes, replace(request, reason=""), made, target) if everybody else made


def _everybody(
    changes: Changes, request: Request, made: Made[Compromised], target: dict[str, str]
) -> Made[Compromised]:
    """Mark every data key, so many at a time: whoever is stopped in between says it again.

    Each change raises the revision. Or a node that holds a key from before could seal under it after the job,
    which goes by the marks, has found it empty and deleted it.
    """
    after: int | None = FIRST
    limit = MARKED
    while after is not None:
        marking = _Marking(target, after, limit)
        after = changes.make(request, Action.KEY_COMPROMISE, marking, target=target).value
        limit = marking.limit
    count = _count_suspect(changes, request, Action.KEY_COMPROMISE)

    def act(attempt: Attempt) -> Change[Compromised]:
        moving = _reencrypt(attempt, attempt.keyring.active_epoch().epoch, count)
        value = replace(made.value, suspect=moving.count, job=moving.seen)
        said = {**target, "everybody": "yes", "data_keys": str(moving.count)}
        return Change(value, said, revises=False, also=moving.said)

    return changes.make(request, Action.KEY_COMPROMISE, act, target=target)


class _Marking:
    """The marking of one portion, which takes half as many whenever it is overtaken."""

    def __init__(self, target: dict[str, str], after: int, limit: int) -> None:
        self._target = target
        self._after = after
        self._tried = False
        self.limit = limit

    def __call__(self, attempt: Attempt) -> Change[int | None]:
        """Mark; return the last subject, None at the end."""
        if self._tried:
            self.limit = max(FEWEST_MARKED, self.limit // 2)
        self._tried = True
        marked, last = suspects.mark_some(attempt.connection, after=self._after, limit=self.limit)
        return Change(last, {**self._target, "marked": str(marked)}, revises=True)


def compromise_subject(changes: Changes, request: Request, subject: str) -> Made[Compromised]:
    """Mark the data keys of one subject, named by its id, as suspect. For administrators.

    Raises AccessDeniedError, NotFoundError, InvalidInputError (no reason).
    """
    count = _count_suspect(changes, request, Action.KEY_COMPROMISE)

    def act(attempt: Attempt) -> Change[Compromised]:
        require_reason(request)
        row = _subject(attempt, subject)
        fresh = suspects.count_unsuspected(attempt.connection, row.id, attempt.keyring.compromised_epochs)
        marked = suspects.mark_subject(attempt.connection, row.id)
        if not marked:
            raise NotFoundError(NO_SUBJECT)
        moving = _reencrypt(attempt, attempt.keyring.active_epoch().epoch, count + fresh)
        said = {"subject": row.log_subject.hex(), "data_keys": str(marked)}
        value = Compromised("", None, moving.count, moving.seen)
        return Change(value, said, revises=True, also=moving.said)

    return changes.make(request, Action.KEY_COMPROMISE, act)


def start_reencrypt(changes: Changes, request: Request) -> Made[JobView]:
    """Start to seal anew what hangs on suspect data keys, or join it: where it ended with some left.

    Raises AccessDeniedError, ConflictError, UnavailableError.
    """
    count = _count_suspect(changes, request, Action.KEY_REENCRYPT)

    def act(attempt: Attempt) -> Change[JobView]:
        running = running_jobs(attempt, reencrypt.KIND)
        if running:
            return Change(view(running[0]), {"job": running[0].id}, revises=False)
        moving = _reencrypt(attempt, attempt.keyring.active_epoch().epoch, count)
        assert moving.job is not None  # nothing keeps it from starting
        return Change(view(moving.job), moving.said[0][1], revises=False)

    return changes.make(request, Action.KEY_REENCRYPT, act)


@dataclass(frozen=True, slots=True)
class _Moving:
    """How much hangs on what is compromised, and what moves it."""

    count: int
    job: JobRow | None
    said: Also = ()
    """What the log says of the job."""

    @property
    def seen(self) -> JobView | None:
        """The job as an operator sees it."""
        return None if self.job is None else view(self.job)


def _require_sensible(kind: KeyKind, *, everybody: bool) -> None:
    if kind not in COMPROMISABLE:
        raise InvalidInputError(
            f"kind: one of {', '.join(sorted(COMPROMISABLE))}", field="kind", rule="not_rotating"
        )
    if everybody and kind is not KeyKind.WRAPPING:
        raise InvalidInputError("all: goes with a wrapping key", field="all", rule="wrapping_only")


def _mark(attempt: Attempt, record: KeyRecord) -> KeyState:
    """Mark the key compromised; return that state. Raises ConflictError."""
    try:
        require_transition(record.state, KeyState.COMPROMISED)
    except IllegalTransitionError:
        raise ConflictError(f"the key is {record.state.value} already") from None
    rows.set_key_state(attempt.connection, record, KeyState.COMPROMISED, now_us=attempt.now_us)
    return KeyState.COMPROMISED


def succeed(changes: Changes, attempt: Attempt, record: KeyRecord, versions: list[KeyRecord]) -> int | None:
    """Put the next version in force if ``record`` was, whose row says something else by now; return it."""
    if record.state is not KeyState.ACTIVE:
        return None
    version = max(known.version for known in versions) + 1
    vault_id = attempt.keyring.vault_id
    # If the root key has changed since, so has the revision, and nothing of this is written.
    root = changes.standings.roots.held
    new = generate_key(record.kind, record.scope, version, vault_id=vault_id, root=root)
    rows.insert_keys(attempt.connection, [new], now_us=attempt.now_us)
    require_transition(new.state, KeyState.ACTIVE)
    rows.set_key_state(attempt.connection, new, KeyState.ACTIVE, now_us=attempt.now_us)
    return version


def _active(versions: list[KeyRecord]) -> int:
    """Return the version in force. Raises NotFoundError when there is none."""
    for record in versions:
        if record.state is KeyState.ACTIVE:
            return record.version
    raise NotFoundError("there is no such key in force")


def replaced(record: KeyRecord, successor: int | None) -> Also:
    """Return the entry that says which version took the place of ``record``, if one did."""
    if successor is None:
        return ()
    said = {**named(record.kind.value, record.scope), "from": str(record.version), "to": str(successor)}
    return ((Action.KEY_ROTATE, said),)


def _subject(attempt: Attempt, text: str) -> SubjectName:
    """Return the subject of an id. Raises NotFoundError for what is malformed, unknown or another's."""
    (decoded,) = attempt.keyring.tokens.decode_many([text])
    if isinstance(decoded, DecodedToken) and decoded.kind is TokenKind.SUBJECT:
        row = suspects.read_subject(attempt.connection, decoded.row_id)
        if row is not None and compare_digest(row.nonce, decoded.nonce):
            return row
    raise NotFoundError(NO_SUBJECT)


def _count_suspect(changes: Changes, request: Request, action: Action) -> int:
    return changes.foresee(request, action, reencrypt.outstanding)


def _digests_outside(connection: Connection, standing: Standing, scope: str, version: int) -> int:
    """Count the digests that will hang on older versions once ``version`` is compromised."""
    shelf = redigest.shelf_of(standing, scope)
    if shelf is None or not redigest.is_scope(standing, scope):
        return 0
    in_force = standing.keyring.lookup(scope).version
    return digests.count_older(connection, shelf, in_force + 1 if in_force == version else in_force)


def _reencrypt(attempt: Attempt, epoch: int, total: int) -> _Moving:
    job = _begun(attempt, reencrypt.KIND, str(epoch), numbers=reencrypt.NUMBERS, total=total)
    said = {"job": job.id, "epoch": str(epoch), "data_keys": str(total)}
    return _Moving(total, job, ((Action.KEY_REENCRYPT, said),))


def _redigest(attempt: Attempt, scope: str, total: int) -> _Moving:
    if redigest.shelf_of(attempt.standing, scope) is None:
        return _Moving(0, None)
    running = running_jobs(attempt, redigest.KIND)
    if running and running[0].target != scope:
        # To wait for that would leave a compromised key in force.
        return _Moving(total, None)
    job = _begun(attempt, redigest.KIND, scope, numbers=redigest.NUMBERS, total=total)
    said = {**named(KeyKind.LOOKUP.value, scope), "job": job.id, "digests": str(total)}
    return _Moving(total, job, ((Action.KEY_REDIGEST, said),))


def _begun(attempt: Attempt, kind: str, target: str, *, numbers: int, total: int) -> JobRow:
    """Begin the job; one that runs begins its pass again, so that it misses nothing of what is new to it."""
    running = running_jobs(attempt, kind)
    if not running:
        return begin(attempt, kind, target, cursor=cursors.start(numbers, 0).text(), total=total)
    before = running[0]
    cursor = cursors.start(numbers, before.done).text()
    after = replace(before, target=target, cursor=cursor, failed=0, total=before.done + total)
    if not job_rows.move(attempt.connection, before, after):
        raise RolledBackError("the job has gone on meanwhile")
    return after
