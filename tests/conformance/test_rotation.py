"""Rotation, on both databases: a new epoch at once, old tokens open throughout, the re-wrap ends at zero."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import insert, text, update

from tests.conformance.counter import Counter, phone
from tests.support.furnished import phones
from vault.domain.errors import AccessDeniedError, UnavailableError
from vault.rotation import epochs, rewrap
from vault.rotation.epochs import KeyInfo
from vault.rotation.jobs import JobView, Worker
from vault.service.vault import Vault
from vault.storage import tables
from vault.storage.errors import RolledBackError, StaleRevisionError


def _fill(counter: Counter, count: int) -> list[str]:
    return [answer["token"] for answer in counter.tokenize(*map(phone, phones(count)))["items"]]


def _epochs(counter: Counter) -> set[int]:
    return {row["epoch"] for row in counter.rows(tables.data_key, order_by="subject_id")}


def _rotate(counter: Counter, by: str = "admin") -> epochs.Rotated:
    return counter.vault.keys.rotate(counter.furnished.request(counter.actor(by))).value


def _start(counter: Counter) -> JobView:
    return counter.vault.keys.rewrap(counter.furnished.request(counter.actor("admin"))).value


def _job(counter: Counter) -> JobView:
    (job,) = counter.vault.keys.jobs(counter.furnished.request(counter.actor("admin"))).value
    return job


def _job_of(counter: Counter, job_id: str) -> JobView:
    jobs = counter.vault.keys.jobs(counter.furnished.request(counter.actor("admin"))).value
    return next(job for job in jobs if job.id == job_id)


def _finish(counter: Counter, worker: Worker, *, size: int = 3) -> JobView:
    """Let one node do all there is to do."""
    for _ in range(1_000):
        if worker.portion(size=size) is None:
            return _job(counter)
    raise AssertionError("the job does not end")


def _rewrap(counter: Counter, *, size: int = 3) -> JobView:
    _start(counter)
    return _finish(counter, counter.vault.worker, size=size)


def _portions(counter: Counter) -> list[dict[str, str]]:
    """Return what the log says of each portion."""
    entries = [logged.entry for logged in counter.log() if logged.entry.action == "key:rewrap"]
    return [dict(entry.target) for entry in entries if entry.actor.id == "vault"]


def _wrapping(counter: Counter) -> dict[int, KeyInfo]:
    infos = counter.vault.keys.list(counter.furnished.request(counter.actor("admin"))).keys
    return {info.version: info for info in infos if info.kind == "wrapping"}


def _all_open(counter: Counter, tokens: list[str], vault: Vault | None = None) -> None:
    opened = counter.detokenize(*tokens, at=vault)["items"]
    assert [answer["value"] for answer in opened] == list(phones(len(tokens)))


def test_a_rotation_serves_new_data_at_once_and_old_data_still(counter: Counter) -> None:
    tokens = _fill(counter, 4)
    rotated = _rotate(counter)
    assert (rotated.old, rotated.new) == (1, 2)
    assert dict(counter.last().entry.target) == {"kind": "wrapping", "from": "1", "to": "2"}
    assert counter.last().entry.action == "key:rotate"
    counter.token("010-9999-9999")
    assert _epochs(counter) == {1, 2}
    _all_open(counter, tokens)
    census = _wrapping(counter)
    assert (census[1].state, census[1].data_keys) == ("deactivated", 4)
    assert (census[2].state, census[2].data_keys) == ("active", 1)


def test_another_node_wraps_under_the_new_epoch_from_then_on(counter: Counter) -> None:
    node = counter.node()
    counter.tokenize(phone("010-1234-5678"), at=node)
    _rotate(counter)
    made = counter.tokenize(phone("010-1234-5679"), at=node)["items"][0]["token"]
    row = counter.row(tables.data_key, subject_id=counter.row_of(made)["subject_id"])
    assert row["epoch"] == 2


def test_a_rewrap_goes_on_where_it_stopped_until_nothing_remains(counter: Counter) -> None:
    tokens = _fill(counter, 8)
    _rotate(counter)
    started = _start(counter)
    assert (started.state, started.target, started.total, started.done) == ("running", "2", 8, 0)
    counter.vault.worker.portion(size=3)
    assert _job(counter).done == 3
    _all_open(counter, tokens)
    # Another process, with no memory of the first, does what is left once the first one's lease is over.
    node = counter.node()
    assert node.worker.portion(size=3) is None
    counter.furnished.clock.pass_time(seconds=16)
    assert node.worker.portion(size=3) is not None
    counter.furnished.clock.pass_time(seconds=1)
    done = _finish(counter, node.worker)
    assert (done.state, done.done, done.total, done.failed) == ("done", 8, 8, 0)
    assert done.rate == pytest.approx(8 / 17)
    assert done.seconds_left == 0
    assert _epochs(counter) == {2}
    assert [portion["moved"] for portion in _portions(counter)] == ["3", "3", "2"]
    assert [portion["state"] for portion in _portions(counter)] == ["running", "running", "done"]
    _all_open(counter, tokens)
    _all_open(counter, tokens, counter.node())
    assert _wrapping(counter)[1].data_keys == 0
    counter.verify_log()


def test_a_node_that_stops_in_order_leaves_its_work_to_the_others_at_once(counter: Counter) -> None:
    _fill(counter, 5)
    _rotate(counter)
    _start(counter)
    counter.vault.worker.portion(size=3)
    counter.vault.worker.release()
    assert counter.node().worker.portion(size=3) is not None
    assert _epochs(counter) == {2}


def test_a_node_that_comes_back_late_writes_nothing(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(counter, 6)
    _rotate(counter)
    _start(counter)
    late, other = counter.vault.worker, counter.node().worker
    prepare = rewrap.prepare

    def stands_still(*arguments: Any) -> rewrap.Portion:
        """Prepare a portion, and wake up long after another node has taken the job over and worked on."""
        monkeypatch.setattr(rewrap, "prepare", prepare)
        portion = prepare(*arguments)
        counter.furnished.clock.pass_time(seconds=16)
        other.portion(size=3)
        return portion

    monkeypatch.setattr(rewrap, "prepare", stands_still)
    before = counter.next_index()
    with pytest.raises(RolledBackError):
        late.portion(size=3)
    assert counter.next_index() == before + 1
    assert _job(counter).done == 3
    assert late.portion(size=3) is None


def test_one_rewrap_runs_at_a_time_and_whoever_starts_another_joins_it(counter: Counter) -> None:
    _fill(counter, 4)
    _rotate(counter)
    first, node = _start(counter), counter.node()
    second = node.keys.rewrap(counter.furnished.request(counter.actor("admin"))).value
    assert second.id == first.id
    row = {**counter.row(tables.job, id=first.id), "id": "job_planted"}
    with pytest.raises(RolledBackError):
        counter.tamper(insert(tables.job).values(row))


def test_a_rewrap_with_nothing_to_do_ends_at_once(counter: Counter) -> None:
    _fill(counter, 2)
    done = _rewrap(counter)
    assert (done.state, done.done, done.total) == ("done", 0, 0)


def test_a_rewrap_raises_no_revision(counter: Counter) -> None:
    _fill(counter, 2)
    _rotate(counter)
    revision = counter.vault.status().revision
    _rewrap(counter)
    assert counter.vault.status().revision == revision


def test_a_rotation_during_a_rewrap_is_followed_to_the_newest_epoch(counter: Counter) -> None:
    tokens = _fill(counter, 8)
    _rotate(counter)
    _start(counter)
    counter.vault.worker.portion(size=3)
    assert _rotate(counter).new == 3
    done = _finish(counter, counter.vault.worker)
    assert (done.state, done.target) == ("done", "3")
    assert _epochs(counter) == {3}
    assert done.total == done.done == 3 + 8
    _all_open(counter, tokens)


def test_two_nodes_rewrap_while_a_third_reads(counter: Counter) -> None:
    tokens = _fill(counter, 60)
    _rotate(counter)
    _start(counter)
    nodes = [counter.node(), counter.node()]
    faults: list[BaseException] = []

    def work(vault: Vault) -> None:
        try:
            while _job(counter).state == "running":
                # The reader raises the revision all the time; a portion that is overtaken is done again.
                with suppress(StaleRevisionError, RolledBackError):
                    vault.worker.portion(size=3)
                    # As if it stood still: the other takes over as soon as it can.
                    vault.worker.release()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            faults.append(error)

    threads = [Thread(target=work, args=(vault,)) for vault in nodes]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        counter.tamper()
        _all_open(counter, tokens)
    for thread in threads:
        thread.join()
    assert faults == []
    assert _epochs(counter) == {2}
    assert counter.count(tables.data_key) == 60
    # Each data key once, by one node or the other.
    assert sum(int(portion["moved"]) for portion in _portions(counter)) == 60
    _all_open(counter, tokens, counter.node())
    assert counter.alarms() == []
    counter.verify_log()


def test_a_rewrap_comes_through_where_only_small_portions_are_not_overtaken(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where tokens are revoked several times in the time that a big portion takes."""
    _fill(counter, 200)
    _rotate(counter)
    _start(counter)
    prepare = rewrap.prepare

    def prepare_slowly(*arguments: Any) -> rewrap.Portion:
        portion = prepare(*arguments)
        if len(portion.changed) > 60:
            counter.tamper()
        return portion

    monkeypatch.setattr(rewrap, "prepare", prepare_slowly)
    for _ in range(20):
        with suppress(StaleRevisionError, RolledBackError):
            if counter.vault.worker.portion() is None:
                break
    assert (_job(counter).state, _job(counter).failed) == ("done", 0)
    assert _epochs(counter) == {2}


def test_a_broken_key_alarms_and_does_not_stop_the_others(counter: Counter) -> None:
    tokens = _fill(counter, 7)
    broken = sorted(row["subject_id"] for row in counter.rows(tables.data_key, order_by="subject_id"))[1]
    wrapped = counter.row(tables.data_key, subject_id=broken)["wrapped"]
    counter.change(tables.data_key, {"subject_id": broken}, wrapped=bytes([*wrapped[:-1], wrapped[-1] ^ 1]))
    _rotate(counter)
    done = _rewrap(counter)
    assert (done.state, done.done, done.failed, done.total) == ("done", 6, 1, 7)
    assert _wrapping(counter)[1].data_keys == 1
    assert counter.alarms() == [("data_key", str(broken))]
    values = counter.detokenize(*tokens)["items"]
    assert sum("value" in answer for answer in values) == 6


def test_a_key_under_an_epoch_that_is_none_is_broken(counter: Counter) -> None:
    _fill(counter, 1)
    counter.tamper(update(tables.data_key).values(epoch=77))
    assert _rewrap(counter).failed == 1


def test_a_data_key_of_nobody_does_not_keep_the_job_from_ending(counter: Counter) -> None:
    _fill(counter, 3)
    row = dict(counter.rows(tables.data_key, order_by="subject_id")[0])
    counter.tamper(insert(tables.data_key).values({**row, "subject_id": 7}))
    _rotate(counter)
    done = _rewrap(counter)
    assert (done.state, done.done, done.failed) == ("done", 3, 1)
    assert counter.alarms() == [("data_key", "7")]


def test_a_row_that_is_no_bytes_is_broken_and_stops_nobody(counter: Counter) -> None:
    _fill(counter, 3)
    if counter.vault.changes.database.dialect == "sqlite":
        subject = counter.rows(tables.data_key, order_by="subject_id")[0]["subject_id"]
        counter.tamper(text(f"UPDATE data_key SET wrapped = 'x' WHERE subject_id = {subject}"))
    else:
        # PostgreSQL takes bytes alone.
        subject = counter.rows(tables.data_key, order_by="subject_id")[0]["subject_id"]
        counter.change(tables.data_key, {"subject_id": subject}, wrapped=b"x")
    _rotate(counter)
    done = _rewrap(counter)
    assert (done.state, done.done, done.failed) == ("done", 2, 1)


@pytest.mark.parametrize("cursor", ["zz", "99999999999999999999:1:0", "", "1", ":::"])
def test_a_cursor_that_is_none_begins_the_pass_again(counter: Counter, cursor: str) -> None:
    _fill(counter, 5)
    _rotate(counter)
    job = _start(counter)
    counter.vault.worker.portion(size=2)
    counter.change(tables.job, {"id": job.id}, cursor=cursor)
    done = _finish(counter, counter.vault.worker)
    assert (done.state, done.done, done.failed) == ("done", 5, 0)


def test_a_lease_from_a_clock_that_goes_wrong_is_taken_over(counter: Counter) -> None:
    _fill(counter, 2)
    _rotate(counter)
    job = _start(counter)
    counter.change(tables.job, {"id": job.id}, holder="elsewhere", lease_until=1 << 60)
    assert _finish(counter, counter.vault.worker).state == "done"


@pytest.mark.parametrize("columns", [{"id": "한글"}, {"target": "a b"}])
def test_a_row_that_is_no_job_is_left_alone(counter: Counter, columns: dict[str, str]) -> None:
    _fill(counter, 2)
    _rotate(counter)
    job = _start(counter)
    counter.change(tables.job, {"id": job.id}, **columns)
    assert counter.vault.worker.portion(size=2) is None
    started = _start(counter)
    while counter.vault.worker.portion(size=2) is not None:
        pass
    assert counter.row(tables.job, id=started.id)["state"] == "done"


def test_a_job_that_fails_is_said_and_keeps_no_other_from_going_on(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _fill(counter, 3)
    admin = counter.furnished.request(counter.actor("admin"))
    _rotate(counter)
    counter.vault.keys.rotate(admin, kind="lookup", scope="member.phone")
    stuck = _start(counter)
    counter.vault.keys.redigest(admin, "member.phone")
    background = counter.vault.background

    def unavailable(*_: Any) -> None:
        raise UnavailableError

    with monkeypatch.context() as patched:
        patched.setattr(rewrap, "prepare", unavailable)
        for _ in range(4):
            background._turn()
    states = {job.kind: job.state for job in counter.vault.keys.jobs(admin).value}
    assert states == {"rewrap": "running", "redigest": "done"}
    assert counter.vault.counts().background_trouble == "unavailable"
    assert counter.vault.status().health.trouble == "unavailable"
    counter.furnished.clock.pass_time(seconds=20)
    for _ in range(2):
        background._turn()
    assert _job_of(counter, stuck.id).state == "done"
    assert (counter.vault.counts().background_trouble, counter.vault.status().health.trouble) == ("", "")
    said = [record.getMessage() for record in caplog.records if "background" in record.getMessage()]
    assert said == [
        f"background work does not go on: {stuck.id} (unavailable)",
        "background work goes on",
    ]


def test_a_data_key_whose_row_says_another_epoch_than_its_header_is_broken(counter: Counter) -> None:
    """Or the census were zero, nothing were left to move, and the old epoch could not end."""
    tokens = _fill(counter, 3)
    _rotate(counter)
    victim = counter.row_of(tokens[0])["subject_id"]
    counter.change(tables.data_key, {"subject_id": victim}, epoch=2)
    done = _rewrap(counter)
    assert (done.state, done.total, done.done, done.failed) == ("done", 3, 2, 1)
    assert counter.alarms() == [("data_key", str(victim))]
    found = counter.vault.keys.census(counter.furnished.request(counter.actor("admin"))).value
    assert [each.data_keys for each in found if each.kind == "wrapping"] == [1, 3]


def test_rotations_from_two_nodes_at_once_make_two_epochs(counter: Counter) -> None:
    tokens = _fill(counter, 3)
    node = counter.node()
    made: list[int] = []

    def rotate(vault: Vault) -> None:
        made.append(vault.keys.rotate(counter.furnished.request(counter.actor("admin"))).value.new)

    threads = [Thread(target=rotate, args=(vault,)) for vault in (counter.vault, node)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [2, 3]
    assert [info.state for info in _wrapping(counter).values()] == ["deactivated", "deactivated", "active"]
    assert _rewrap(counter).state == "done"
    assert _epochs(counter) == {3}
    _all_open(counter, tokens)


@pytest.mark.parametrize("who", ["officer", "chief", "minji", "shop"])
def test_only_administrators_rotate_rewrap_and_look(counter: Counter, who: str) -> None:
    request = counter.furnished.request(counter.actor(who))
    keys = counter.vault.keys
    for act in (keys.rotate, keys.rewrap, keys.list, keys.jobs, keys.census):
        with pytest.raises(AccessDeniedError):
            act(request)
    assert [logged.entry.error for logged in counter.log()[-5:]] == ["access_denied"] * 5
    assert {row["version"] for row in counter.rows(tables.key, order_by="version")} == {1}
