"""Values sealed anew while the vault is in use, on both databases: each opens before, meanwhile and after."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Event
from typing import Any

import pytest
from sqlalchemy import insert, update

from keys.datakeys import Binding
from keys.errors import DecryptionError
from keys.secret import SecretBytes
from tests.conformance.counter import LOGIN, PHONE, Counter, item, phone
from tests.conformance.racing import decided
from tests.conformance.suspicion import (
    WHY,
    census,
    compromise,
    finish,
    generation_under,
    generations,
    job_of,
    values_of,
)
from tests.conformance.test_detokenize import restrict
from tests.support.furnished import phones
from vault.domain.errors import UnavailableError
from vault.domain.model import SubjectState
from vault.rotation import reencrypt
from vault.service.vault import Vault
from vault.storage import tables
from vault.storage.errors import RolledBackError, StaleRevisionError
from vault.storage.hot_postgresql import PostgresqlHotConnection
from vault.storage.hot_sqlite import SqliteHotConnection
from vault.tokens import replay

HOT = (SqliteHotConnection, PostgresqlHotConnection)


def _fill(counter: Counter, count: int = 5) -> list[str]:
    return [answer["token"] for answer in counter.tokenize(*map(phone, phones(count)))["items"]]


def _person(counter: Counter, count: int) -> tuple[str, list[str]]:
    """Make one person with so many telephone numbers; return their id and the tokens."""
    answers = counter.tokenize(*(phone(number, label="a") for number in phones(count)))["items"]
    return answers[0]["subject"], [answer["token"] for answer in answers]


def _again(counter: Counter) -> None:
    counter.vault.keys.reencrypt(counter.furnished.request(counter.actor("admin")))


def _flip(counter: Counter, token: str) -> bytes:
    """Break one value; return how it was."""
    envelope = bytes(counter.row_of(token)["envelope"])
    broken = bytes([*envelope[:-1], envelope[-1] ^ 1])
    counter.change(tables.token, {"id": counter.row_id(token)}, envelope=broken)
    return envelope


def test_a_person_with_very_many_values_goes_in_portions(counter: Counter) -> None:
    _, tokens = _person(counter, 11)
    compromise(counter)
    counter.vault.worker.portion(size=4)
    assert [generation_under(counter, token) for token in tokens] == [2] * 4 + [1] * 7
    assert generations(counter) == [(1, 1), (2, 2)]
    assert values_of(counter, *tokens) == list(phones(11))
    job = job_of(counter)
    assert (job.state, job.done, job.total) == ("running", 0, 1)
    # Another node goes on inside the person.
    counter.furnished.clock.pass_time(seconds=16)
    done = finish(counter, at=counter.node())
    assert (done.state, done.done, done.failed) == ("done", 1, 0)
    assert generations(counter) == [(2, 2)]
    assert values_of(counter, *tokens) == list(phones(11))
    assert counter.alarms() == []
    counter.verify_log()


def test_people_of_all_sizes_are_done_whatever_the_portion(counter: Counter) -> None:
    numbers = iter(phones(40))
    tokens: dict[str, str] = {}
    for size in (1, 4, 5, 1, 8, 3, 9):
        wanted = [next(numbers) for _ in range(size)]
        answers = counter.tokenize(*(phone(number, label="a") for number in wanted))["items"]
        tokens |= {answer["token"]: number for answer, number in zip(answers, wanted, strict=True)}
    for epoch, size in enumerate((1, 3, 4, 100), start=1):
        compromise(counter, epoch)
        assert finish(counter, size=size).done == 7
        assert generations(counter) == [(epoch + 1, epoch + 1)] * 7
        assert values_of(counter, *tokens) == list(tokens.values())
    assert counter.alarms() == []


def test_a_new_value_of_a_known_person_is_under_a_new_data_key_at_once(counter: Counter) -> None:
    subject, tokens = _person(counter, 2)
    node = counter.node()
    # Both nodes hold the old key.
    values_of(counter, *tokens, at=node)
    values_of(counter, *tokens)
    compromise(counter)
    first = counter.tokenize(phone("010-9999-0001", subject=subject), at=node)["items"][0]["token"]
    second = counter.tokenize(phone("010-9999-0002", subject=subject))["items"][0]["token"]
    assert [generation_under(counter, token) for token in (*tokens, first, second)] == [1, 1, 2, 2]
    assert generations(counter) == [(1, 1), (2, 2)]
    finish(counter)
    # The job uses that key, too.
    assert generations(counter) == [(2, 2)]
    wanted = [*phones(2), "010-9999-0001", "010-9999-0002"]
    for vault in (counter.vault, node):
        assert values_of(counter, *tokens, first, second, at=vault) == wanted
    assert counter.alarms() == []


def test_one_unit_makes_one_data_key_a_person(counter: Counter) -> None:
    subject, tokens = _person(counter, 1)
    compromise(counter)
    works = [counter.tokenizing([phone(number, subject=subject)]) for number in phones(3, start=10)]
    counter.together(*works)
    made = [work.result["items"][0]["token"] for work in works]
    assert generations(counter) == [(1, 1), (2, 2)]
    assert values_of(counter, *tokens, *made) == [*phones(1), *phones(3, start=10)]


def test_a_data_key_of_a_request_that_failed_is_used_by_no_other(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is not written: what another request of the unit seals under it nobody could open."""
    subject, tokens = _person(counter, 1)
    compromise(counter)

    def fails(*_: object) -> bytes:
        raise UnavailableError("out of luck")

    monkeypatch.setattr(replay, "record", fails)
    failing = counter.tokenizing([phone("010-9999-0001", subject=subject)], key="k")
    working = counter.tokenizing([phone("010-9999-0002", subject=subject)])
    counter.together(failing, working)
    assert isinstance(failing.error, UnavailableError)
    made = working.result["items"][0]["token"]
    assert values_of(counter, *tokens, made) == [*phones(1), "010-9999-0002"]
    assert generations(counter) == [(1, 1), (2, 2)]


def test_a_restricted_person_is_sealed_anew_too(counter: Counter) -> None:
    _, tokens = _person(counter, 2)
    subject_id = counter.row_of(tokens[0])["subject_id"]
    restrict(counter, subject_id, SubjectState.RESTRICTED)
    compromise(counter)
    assert finish(counter).done == 1
    assert generations(counter) == [(2, 2)]
    assert values_of(counter, *tokens) == ["subject_restricted"] * 2
    row = counter.row(tables.data_key, subject_id=subject_id)
    key = counter.vault.standings.current.keyring.epoch(2)
    key.unwrap(Binding(subject_id, 2, SubjectState.RESTRICTED), bytes(row["wrapped"]))
    assert counter.alarms() == []


def test_a_value_that_does_not_open_stays_and_stops_nobody_elses(counter: Counter) -> None:
    _, mine = _person(counter, 3)
    theirs = _fill(counter, 3)
    whole = _flip(counter, mine[1])
    compromise(counter)
    done = finish(counter)
    assert (done.state, done.done, done.failed, done.total) == ("done", 3, 1, 4)
    assert ("token", str(counter.row_id(mine[1]))) in counter.alarms()
    found = census(counter)["wrapping//1"]
    assert (found.data_keys, found.suspect_values) == (1, 1)
    assert values_of(counter, mine[0], mine[2], *theirs) == [phones(3)[0], phones(3)[2], *phones(3)]
    # Put back from a copy, it is done like the others.
    counter.change(tables.token, {"id": counter.row_id(mine[1])}, envelope=whole)
    _again(counter)
    assert finish(counter).failed == 0
    assert census(counter)["wrapping//1"].total == 0
    assert values_of(counter, *mine) == list(phones(3))


def test_a_broken_value_in_a_portion_before_keeps_the_data_key(counter: Counter) -> None:
    _, tokens = _person(counter, 9)
    _flip(counter, tokens[0])
    compromise(counter)
    done = finish(counter)
    assert (done.state, done.done, done.failed) == ("done", 0, 1)
    assert generations(counter) == [(1, 1), (2, 2)]
    assert values_of(counter, *tokens[1:]) == list(phones(9))[1:]


def test_a_data_key_that_does_not_unwrap_stays_and_stops_nobody_elses(counter: Counter) -> None:
    tokens = _fill(counter, 4)
    broken = counter.row_of(tokens[1])["subject_id"]
    wrapped = bytes(counter.row(tables.data_key, subject_id=broken)["wrapped"])
    counter.change(tables.data_key, {"subject_id": broken}, wrapped=bytes([*wrapped[:-1], wrapped[-1] ^ 1]))
    row = dict(counter.row(tables.data_key, subject_id=broken))
    # And one of nobody.
    counter.tamper(insert(tables.data_key).values({**row, "subject_id": 7}))
    compromise(counter)
    done = finish(counter)
    assert (done.state, done.done, done.failed) == ("done", 3, 2)
    assert {("data_key", str(broken)), ("data_key", "7")} <= set(counter.alarms())
    opened = values_of(counter, *tokens)
    assert [opened[at] for at in (0, 2, 3)] == [phones(4)[at] for at in (0, 2, 3)]


def test_a_reference_that_does_not_open_keeps_the_data_key(counter: Counter) -> None:
    token = counter.tokenize(phone("010-1234-5678", external_ref="user-1"))["items"][0]["token"]
    subject_id = counter.row_of(token)["subject_id"]
    counter.change(tables.subject, {"id": subject_id}, ref_envelope=bytes([1, 0, 0, 0, 1, *bytes(60)]))
    compromise(counter)
    assert finish(counter).failed == 1
    assert ("subject", str(subject_id)) in counter.alarms()
    assert generation_under(counter, token) == 2


def test_an_envelope_of_no_generation_keeps_the_data_key(counter: Counter) -> None:
    """Put back from a copy, it will need it."""
    _, tokens = _person(counter, 2)
    envelope = bytes(counter.row_of(tokens[0])["envelope"])
    counter.change(
        tables.token, {"id": counter.row_id(tokens[0])}, envelope=envelope[:4] + b"\x09" + envelope[5:]
    )
    compromise(counter)
    assert finish(counter).failed == 1
    assert generations(counter) == [(1, 1), (2, 2)]
    assert values_of(counter, *tokens) == ["tamper_detected", phones(2)[1]]


def test_whoever_starts_it_again_joins_it(counter: Counter) -> None:
    _fill(counter)
    compromise(counter)
    _again(counter)
    assert counter.count(tables.job) == 1
    finish(counter)
    _again(counter)
    assert (finish(counter).total, counter.count(tables.job)) == (0, 2)


def test_an_epoch_that_falls_during_the_job_begins_it_again(counter: Counter) -> None:
    tokens = _fill(counter, 6)
    compromise(counter)
    counter.vault.worker.portion(size=4)
    compromise(counter, 2)
    done = finish(counter)
    assert (done.state, done.failed, done.target) == ("done", 0, "3")
    assert done.done == done.total
    assert {epoch for _, epoch in generations(counter)} == {3}
    assert values_of(counter, *tokens) == list(phones(6))


@pytest.mark.parametrize("cursor", ["zz", "99999999999999999999:1:0", "", ":::"])
def test_a_cursor_that_is_none_begins_the_pass_again(counter: Counter, cursor: str) -> None:
    tokens = _fill(counter)
    compromise(counter)
    counter.vault.worker.portion(size=4)
    counter.change(tables.job, {"kind": "reencrypt"}, cursor=cursor)
    assert (finish(counter).done, finish(counter).failed) == (5, 0)
    assert values_of(counter, *tokens) == list(phones(5))


# Races


def _between(
    monkeypatch: pytest.MonkeyPatch, method: str, vault: Vault, act: Callable[[], object]
) -> list[int]:
    """Have ``act`` happen once, just before the lane of ``vault`` calls ``method``; return its calls."""
    calls: list[int] = []
    (held,) = [kind for kind in HOT if isinstance(vault.tokens._lane._connection, kind)]
    real = getattr(held, method)

    def wrapped(self: object, *arguments: Any) -> Any:
        if self is vault.tokens._lane._connection:
            calls.append(1)
            if len(calls) == 1:
                act()
        return real(self, *arguments)

    monkeypatch.setattr(held, method, wrapped)
    return calls


def test_a_value_sealed_anew_between_two_reads_is_read_again(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = _fill(counter)
    compromise(counter)
    calls = _between(monkeypatch, "read_keys", counter.vault, lambda: finish(counter, size=100))
    assert values_of(counter, *tokens) == list(phones(5))
    assert len(calls) == 2
    assert counter.alarms() == []
    assert counter.last().outcomes == ["opened"] * 5


def test_a_reference_sealed_anew_between_two_reads_is_read_again(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = counter.tokenize(phone("010-1234-5678", external_ref="user-1"))["items"][0]
    compromise(counter)
    _between(monkeypatch, "read_keys", counter.vault, lambda: finish(counter, size=100))
    again = counter.tokenize(phone("010-1234-5678", external_ref="user-1"))["items"][0]
    assert (again["token"], again["existing"]) == (first["token"], True)
    assert counter.alarms() == []


def test_what_is_really_broken_is_read_twice_and_no_more(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = _fill(counter, 1)[0]
    envelope = bytes(counter.row_of(token)["envelope"])
    counter.change(tables.token, {"id": counter.row_id(token)}, envelope=b"\x01" + bytes(4) + envelope[5:])
    counter.vault.standings.refresh()
    calls = _between(monkeypatch, "read_tokens", counter.vault, lambda: None)
    assert values_of(counter, token) == ["tamper_detected"]
    assert len(calls) == 2
    assert counter.alarms() == [("token", str(counter.row_id(token)))]


def test_the_job_gives_way_to_a_data_key_made_meanwhile(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, tokens = _person(counter, 2)
    compromise(counter)
    prepare = reencrypt.prepare
    made: list[str] = []

    def overtaken(*arguments: Any) -> reencrypt.Portion:
        monkeypatch.setattr(reencrypt, "prepare", prepare)
        portion = prepare(*arguments)
        made.append(counter.tokenize(phone("010-9999-0001", subject=subject))["items"][0]["token"])
        return portion

    monkeypatch.setattr(reencrypt, "prepare", overtaken)
    with pytest.raises(RolledBackError):
        counter.vault.worker.portion(size=4)
    assert finish(counter).done == 1
    assert generations(counter) == [(2, 2)]
    assert values_of(counter, *tokens, *made) == [*phones(2), "010-9999-0001"]


@pytest.mark.parametrize("rival", ["job", "node"])
def test_a_request_gives_way_to_a_data_key_made_meanwhile_and_succeeds(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, rival: str
) -> None:
    subject, tokens = _person(counter, 2)
    node = counter.node()
    compromise(counter)

    def overtake() -> None:
        if rival == "job":
            node.worker.portion(size=4)
        else:
            counter.tokenize(phone("010-9999-0009", subject=subject), at=node)

    calls = _between(monkeypatch, "commit", counter.vault, overtake)
    made = counter.tokenize(phone("010-9999-0001", subject=subject))["items"][0]["token"]
    assert len(calls) == 2
    assert generation_under(counter, made) == 2
    assert values_of(counter, *tokens, made) == [*phones(2), "010-9999-0001"]
    assert counter.alarms() == []


def _work(vault: Vault, over: Event) -> None:
    """Do background work on one node, as its thread would."""
    while not over.is_set():
        with suppress(StaleRevisionError, RolledBackError, UnavailableError):
            vault.worker.portion(size=7)
            vault.worker.release()
    # A portion that was overtaken last has left its lease, and nobody else would finish the job.
    vault.worker.release()


ROUNDS = 25


def test_nothing_is_sealed_under_a_compromised_epoch_after_its_entry(counter: Counter) -> None:
    """On two nodes, into known people and new ones, at full load, while epochs fall one after the other."""
    nodes = [counter.vault, counter.node()]
    subjects = [counter.tokenize(phone(number))["items"][0]["subject"] for number in phones(6)]
    over = Event()
    answers: list[dict[str, Any]] = []

    def write(vault: Vault, start: int) -> None:
        for number in range(ROUNDS):
            value = phones(1, start=start + number)[0]
            known = phone(value, subject=subjects[number % len(subjects)])
            answers.append(decided(partial(counter.tokenize, known, phone(value), at=vault)))

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, nodes[at % 2], 1_000 * (at + 1)) for at in range(4)]
        fallen = {}
        for epoch in (1, 2, 3):
            before = counter.next_index()
            compromise(counter, epoch, at=nodes[epoch % 2])
            (fallen[epoch],) = [
                logged.index for logged in counter.log(before) if logged.entry.action == "key:compromise"
            ]
        for each in writing:
            each.result()
    over.set()
    epochs = {
        (row["subject_id"], row["generation"]): row["epoch"]
        for row in counter.rows(tables.data_key, order_by="subject_id")
    }
    checked = 0
    for answer in answers:
        for made in answer["items"]:
            row = counter.row_of(made["token"])
            epoch = epochs[row["subject_id"], generation_under(counter, made["token"])]
            assert fallen.get(epoch, answer["log_index"]) >= answer["log_index"]
            checked += 1
    assert checked == 4 * ROUNDS * 2
    finish(counter, size=50)
    assert {epoch for _, epoch in generations(counter)} == {4}
    counter.verify_log()


def test_nobody_notices_the_job_and_every_value_opens_once(counter: Counter) -> None:
    """Two nodes tokenize, detokenize and revoke while two do the job and the people fall again and again."""
    nodes = [counter.vault, counter.node()]
    workers = [counter.node(), counter.node()]
    people = [_person(counter, 6) for _ in range(8)]
    values = {token: number for _, tokens in people for token, number in zip(tokens, phones(6), strict=True)}
    revoked = [tokens[0] for _, tokens in people]
    kept = [token for token in values if token not in revoked]
    over = Event()

    def read(vault: Vault) -> int:
        seen = 0
        while not over.is_set():
            assert decided(lambda: values_of(counter, *kept, at=vault)) == [values[token] for token in kept]
            seen += 1
        return seen

    def write(vault: Vault, start: int) -> dict[str, str]:
        made = {}
        for number in range(ROUNDS):
            subject, value = people[number % len(people)][0], phones(1, start=start + number)[0]
            wanted = phone(value, subject=subject)
            made[decided(partial(counter.tokenize, wanted, at=vault))["items"][0]["token"]] = value
        return made

    with ThreadPoolExecutor(6) as pool:
        working = [pool.submit(_work, vault, over) for vault in workers]
        reading = [pool.submit(read, vault) for vault in nodes]
        writing = [pool.submit(write, vault, 1_000 * (at + 1)) for at, vault in enumerate(nodes)]
        for epoch in (1, 2, 3):
            decided(partial(compromise, counter, epoch))
            for token in revoked[epoch - 1 :: 3]:
                decided(partial(counter.revoke, token))
        made = {token: value for each in writing for token, value in each.result().items()}
        over.set()
        assert all(each.result() > 0 for each in reading)
        for each in working:
            each.result()
    finish(counter, size=50)
    values |= made
    left = [token for token in values if token not in revoked]
    assert values_of(counter, *left) == [values[token] for token in left]
    assert values_of(counter, *revoked) == ["token_revoked"] * len(revoked)
    assert {epoch for _, epoch in generations(counter)} == {4}
    # One data key a person: nothing was left behind, and nothing made in vain.
    assert counter.count(tables.data_key) == len(people)
    assert counter.alarms() == []
    counter.verify_log()


def test_whoever_has_the_old_epoch_opens_nothing_of_a_later_copy(counter: Counter) -> None:
    """They read every data key while they could, and the whole database after the job."""
    answers = counter.tokenize(
        *(phone(number, label="a") for number in phones(3)), phone("010-9999-0001", external_ref="user-1")
    )["items"]
    tokens = [answer["token"] for answer in answers]
    standing = counter.vault.standings.current
    epoch = standing.keyring.epoch(1)

    def stolen() -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {}
        for row in counter.rows(tables.data_key, order_by="subject_id"):
            binding = Binding(row["subject_id"], row["generation"], SubjectState.OPEN)
            with suppress(DecryptionError):
                found.setdefault(row["subject_id"], []).append(epoch.unwrap(binding, bytes(row["wrapped"])))
        return found

    def opened(keys: dict[int, list[Any]]) -> int:
        count = 0
        for row in counter.rows(tables.token):
            part = standing.by_id[row["field_id"]].context_part
            context = standing.value_context.value(row["subject_id"], part, row["id"])
            for key in keys.get(row["subject_id"], ()):
                # Whatever generation the header names: it is the key that counts.
                envelope = key.header + bytes(row["envelope"])[5:]
                with suppress(DecryptionError):
                    key.open(context, envelope)
                    count += 1
        return count

    early = stolen()
    assert opened(early) == 4
    # A re-wrap alone would have left them everything.
    compromise(counter)
    assert opened(early) == 4
    finish(counter)
    assert opened(early) == 0
    assert not any(stolen().values())
    assert values_of(counter, *tokens) == [*phones(3), "010-9999-0001"]


def test_a_planted_data_key_under_the_old_epoch_seals_nothing(counter: Counter) -> None:
    """Whoever has the epoch and the database can give a person a key they know: it is suspect, too."""
    subject, tokens = _person(counter, 1)
    subject_id = counter.row_of(tokens[0])["subject_id"]
    compromise(counter)
    finish(counter)
    keyring = counter.vault.standings.current.keyring
    binding = Binding(subject_id, 9, SubjectState.OPEN)
    known = keyring.epoch(1)
    known._active = True
    row = {
        "subject_id": subject_id,
        "generation": 9,
        "epoch": 1,
        "wrapped": known.wrap(binding, bytes(12), SecretBytes(bytes(32))),
    }
    counter.tamper(insert(tables.data_key).values(row))
    made = counter.tokenize(item(LOGIN, "minji77", subject=subject))["items"][0]["token"]
    assert generation_under(counter, made) == 10
    assert (10, 2) in generations(counter)
    assert values_of(counter, *tokens, made) == [*phones(1), "minji77"]


def test_a_mark_on_a_data_key_counts_without_a_command(counter: Counter) -> None:
    token = _fill(counter, 1)[0]
    counter.tamper(update(tables.data_key).values(suspect=True))
    assert census(counter)["wrapping//1"].suspect_values == 1
    _again(counter)
    assert finish(counter).done == 1
    assert generation_under(counter, token) == 2
    assert [found["token"] for found in counter.search(PHONE, phones(1)[0])] == [token]
    assert WHY not in str(counter.log())
