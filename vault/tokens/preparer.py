"""Turn the works of a unit into one log unit and its rows: the hot path, top to bottom.

decide -> read, each table once for the whole unit -> seal or open in memory
-> one entry a request -> (the lane commits) -> receipts -> release
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from keys.envelope import NONCE_LENGTH
from keys.errors import KeysError
from vault.access.decision import Permit
from vault.access.entries import VAULT, Request, entry, own_origin
from vault.access.sealing import Alarm
from vault.access.standing import Standing, Standings
from vault.audit.entry import Entry, entry_id
from vault.audit.reasons import seal_reason
from vault.audit.writer import Draft, Writer
from vault.domain.actions import Action
from vault.domain.errors import UnavailableError, VaultError
from vault.domain.faults import describe
from vault.storage.append import LogUnit
from vault.storage.hot import HotConnection, Writes
from vault.tokens.audienceids import AudienceIds
from vault.tokens.rowids import RowIds
from vault.tokens.subjectkeys import SubjectKeyCache, SubjectKeys
from vault.tokens.work import LOGGER, Bench, HotWork, Needs, Reads

ENTRY_NOISE = 10

READS = 8
"""So often a unit is read again while values are sealed anew under its hands; then it takes what it has."""


@dataclass(frozen=True, slots=True)
class PreparedUnit:
    """See :class:`vault.storage.lane.Prepared`."""

    unit: LogUnit
    writes: Writes
    revision: int
    works: Sequence[HotWork]
    """In the order of their entries."""
    draft: Draft
    fresh: Sequence[SubjectKeys]
    alarms: Sequence[Alarm]
    """Rows whose alarm is an entry of this unit."""


class UnitPreparer:
    """See :class:`vault.storage.lane.Preparer`. Belongs to the lane's thread."""

    def __init__(self, standings: Standings, clock: Callable[[], datetime]) -> None:
        self._standings = standings
        self._clock = clock
        self._writer = Writer()
        self._row_ids = RowIds()
        self._audience_ids = AudienceIds()
        self._subject_keys = SubjectKeyCache()
        self._permits: dict[tuple[object, ...], Permit] = {}
        self._seen: Standing | None = None
        self._alarmed: set[Alarm] = set()
        self._stale = False

    def prepare(self, works: Sequence[HotWork], connection: HotConnection) -> PreparedUnit:
        """Decide, read, seal and open everything of one unit; write nothing."""
        self._renew()
        works = sorted(works, key=_last_if_revising)
        bench = self._completed(works, connection)
        known: set[tuple[int, bytes]] = set()
        for _ in range(READS):
            if bench.missing <= known:
                break
            # Sealed anew between the reads of value and key: with both read again it opens. What names the
            # same generation once more is broken.
            known |= bench.missing
            self._subject_keys.forget({subject_id for subject_id, _ in known})
            bench = self._completed(works, connection)
        return self._draft(works, bench)

    def _completed(self, works: Sequence[HotWork], connection: HotConnection) -> Bench:
        bench = self._bench(connection)
        for work in works:
            work.restart()
            _attempt(work, partial(_begin, work, bench))
        self._read(works, bench)
        for position, work in enumerate(works):
            self._complete(work, position, bench)
        return bench

    def settled(self, prepared: PreparedUnit, first: int) -> None:
        """Take note that the unit is durable from ``first``: hold its new subjects, hand out receipts."""
        self._writer.durable()
        # Not earlier: the alarm of a unit that was given up has to come up again.
        self._alarmed.update(prepared.alarms)
        for subject in prepared.fresh:
            self._subject_keys.add(subject)
        for work, receipt in zip(prepared.works, prepared.draft.receipts(first), strict=False):
            work.settle(receipt)

    def stale(self) -> None:
        """Have the standing read anew before the next unit: where that fails, it fails that unit."""
        self._stale = True

    def unknown(self) -> None:
        """Start a new writer counter: nobody knows whether the old one moved."""
        self._writer.restart()

    def forget(self) -> None:
        """Drop every key held in memory, and the standing they were true at."""
        self._subject_keys.drop()
        self._permits = {}
        self._seen = None

    def _renew(self) -> None:
        if not self._stale:
            return
        try:
            self._standings.refresh()
        except KeysError:
            raise UnavailableError("the keys cannot be unlocked") from None
        self._stale = False

    def _bench(self, connection: HotConnection) -> Bench:
        standing = self._standings.current
        if standing is not self._seen:
            # Held keys and permits were true at another revision.
            self._subject_keys.drop()
            self._permits = {}
            self._seen = standing
        now = self._clock()
        now_us = int(now.timestamp() * 1_000_000)
        self._subject_keys.renew(now_us)
        return Bench(
            standing=standing,
            now=now,
            now_us=now_us,
            connection=connection,
            row_ids=self._row_ids,
            audience_ids=self._audience_ids,
            subject_keys=self._subject_keys,
            reads=Reads(),
            writes=Writes(),
            fresh=[],
            permits=self._permits,
            alarms=[],
        )

    def _read(self, works: Sequence[HotWork], bench: Bench) -> None:
        """Ask each table once for everybody: first what was named, then what that led to."""
        live = [work for work in works if work.refusal is None]
        named = Needs()
        for work in live:
            work.need(named)
        _fetch(named, bench)
        found = Needs(subjects=named.subjects)
        for work in live:
            _attempt(work, partial(work.need_more, bench.reads, found))
        _fetch(found, bench)
        if found.subjects:
            keyring = bench.standing.keyring
            bench.reads.subjects = self._subject_keys.fetch(found.subjects, keyring, bench.connection)

    def _complete(self, work: HotWork, position: int, bench: Bench) -> None:
        if work.refusal is not None:
            return
        bench.position = position
        mark = bench.writes.mark()
        if not _attempt(work, partial(work.complete, bench)):
            bench.undo(mark)

    def _draft(self, works: Sequence[HotWork], bench: Bench) -> PreparedUnit:
        """Encode one entry a work, and one an alarm, as the unit of this commit."""
        # One draw for the ids of all entries and the nonces of all reasons: a call costs as much as a seal.
        noise = os.urandom((ENTRY_NOISE + NONCE_LENGTH) * len(works))
        revision = bench.standing.revision
        entries = []
        for at, work in zip(range(0, len(noise), ENTRY_NOISE + NONCE_LENGTH), works, strict=True):
            middle = at + ENTRY_NOISE
            name = entry_id(bench.now, noise[at:middle])
            note = _note(work, name, noise[middle : middle + NONCE_LENGTH], bench) if work.reason else ""
            entries.append(work.entry(name, bench.now, note=note, revision=revision))
        alarms = [alarm for alarm in dict.fromkeys(bench.alarms) if alarm not in self._alarmed]
        entries += _alarm_entries(alarms, bench)
        draft = self._writer.draft(entries, bench.standing.keyring)
        for work, leaf_hashes in zip(works, draft.leaf_hashes, strict=False):
            work.withhold(leaf_hashes)
        bench.writes.place(draft.offsets)
        if bench.renewed:
            # Whoever inserts the same keys takes them in the same order, so that nobody waits in a circle.
            bench.writes.data_keys.sort()
        return PreparedUnit(
            unit=draft.unit,
            writes=bench.writes,
            revision=revision,
            works=works,
            draft=draft,
            fresh=bench.fresh,
            alarms=alarms,
        )


def _note(work: HotWork, owner: str, nonce: bytes, bench: Bench) -> str:
    """Seal the reason as a side note and return its hash."""
    digest, sealed = seal_reason(bench.standing.keyring, owner, work.reason, nonce=nonce)
    bench.writes.notes.append((digest, sealed))
    return digest.hex()


def _alarm_entries(alarms: Sequence[Alarm], bench: Bench) -> list[Entry]:
    """Return an entry for each row that did not verify."""
    request = Request(actor=VAULT, origin=own_origin(), now_us=bench.now_us)
    return [
        entry(request, Action.INTEGRITY_ALARM, target={"table": alarm.table, "row": alarm.row_id})
        for alarm in alarms
    ]


def _begin(work: HotWork, bench: Bench) -> None:
    """Name the purpose only once the policy knows it: until then it is a stranger's free text."""
    if work.purpose in bench.standing.authority.policy.purposes:
        work.known_purpose = work.purpose
    work.screen()
    work.begin(bench)


def _last_if_revising(work: HotWork) -> bool:
    return work.revises


def _fetch(needs: Needs, bench: Bench) -> None:
    """Ask each table once for what is needed of it. Whoever needs a token needs its subject, too."""
    reads, connection = bench.reads, bench.connection
    if needs.tokens:
        rows = connection.read_tokens(list(needs.tokens))
        reads.tokens |= {row[0]: row for row in rows}
        needs.subjects |= {row[2] for row in rows}
    if needs.references:
        reads.references.update(
            (row[0], row[1:]) for row in connection.read_references(list(needs.references))
        )
    if needs.digests:
        reads.matches += connection.read_matches(list(needs.digests))
    if needs.replays:
        reads.replays.update((row[0], row) for row in connection.read_replays(list(needs.replays)))
    if needs.audience_tokens:
        rows = connection.read_audience_tokens(sorted(needs.audience_tokens))
        reads.audience_tokens.update(((row[2], row[3], row[7] or 0), row) for row in rows)
    if needs.subject_tokens:
        for row in connection.read_subject_tokens(list(needs.subject_tokens), list(needs.makers)):
            reads.subject_tokens.setdefault((row[2], row[6]), []).append(row)


def _attempt(work: HotWork, step: Callable[[], None]) -> bool:
    """Run one step; an error of the vault refuses this work alone, is logged as such, and gives False."""
    try:
        step()
    except VaultError as error:
        work.refusal = error.with_traceback(None)
        return False
    except KeysError:
        # A key that only this work needs cannot be used: no reason to fail the others of the unit.
        work.refusal = UnavailableError("a key for this cannot be used")
        return False
    except Exception as error:  # noqa: BLE001 - what is stored for one work must not fail the others of the unit
        LOGGER.error("a request failed: %s", describe(error))
        work.refusal = VaultError()
        return False
    return True
