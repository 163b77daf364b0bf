"""A key past its cryptoperiod turns yellow, then red, and green again when it has been replaced."""

from __future__ import annotations

import pytest

from tests.conformance.counter import Counter
from tests.support.furnished import POLICY
from vault.domain.errors import InvalidInputError
from vault.policy.policy import Policy
from vault.policy.sections import CRYPTOPERIODS
from vault.rotation.epochs import KeyInfo


def _lights(counter: Counter) -> tuple[str, tuple[str, ...]]:
    status = counter.vault.status()
    return status.keys.value, status.late


def _wrapping(counter: Counter) -> dict[int, KeyInfo]:
    infos = counter.vault.keys.list(counter.furnished.request(counter.actor("admin"))).keys
    return {info.version: info for info in infos if info.kind == "wrapping"}


def test_a_late_key_turns_yellow_and_thirty_days_later_red(counter: Counter) -> None:
    clock = counter.furnished.clock
    assert _lights(counter) == ("green", ())
    clock.pass_time(days=364)
    assert _lights(counter) == ("green", ())
    clock.pass_time(days=1)
    assert _lights(counter) == ("yellow", ("session//1", "wrapping//1", "root//1"))
    clock.pass_time(days=29)
    assert _lights(counter)[0] == "yellow"
    clock.pass_time(days=1)
    assert _lights(counter)[0] == "red"


def test_a_rotation_begins_a_new_period(counter: Counter) -> None:
    before = _wrapping(counter)[1]
    assert (before.light, before.due_at is not None) == ("green", True)
    counter.furnished.clock.pass_time(minutes=5)
    counter.vault.keys.rotate(counter.furnished.request(counter.actor("admin")))
    after = _wrapping(counter)
    assert (after[1].light, after[1].due_at) == (None, None)
    assert str(after[2].due_at) > str(before.due_at)


def test_token_keys_have_no_period(counter: Counter) -> None:
    infos = counter.vault.keys.list(counter.furnished.request(counter.actor("admin"))).keys
    assert {info.kind for info in infos if info.due_at is None} == {"token"}


def test_the_policy_says_how_long() -> None:
    text = POLICY.read_text(encoding="utf-8")
    assert Policy.parse(text).cryptoperiods == CRYPTOPERIODS
    stated = Policy.parse(text + "\n[cryptoperiods]\nwrapping = 90\n").cryptoperiods
    assert stated == {**CRYPTOPERIODS, "wrapping": 90}


@pytest.mark.parametrize(
    ("line", "field", "rule"),
    [
        ("token = 90", "cryptoperiods.token", "unknown_key"),
        ("wrapping = 0", "cryptoperiods.wrapping", "range"),
        ("wrapping = 3651", "cryptoperiods.wrapping", "range"),
        ("wrapping = 'year'", "cryptoperiods.wrapping", "type"),
    ],
)
def test_refuses_a_period_that_is_none(line: str, field: str, rule: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        Policy.parse(POLICY.read_text(encoding="utf-8") + f"\n[cryptoperiods]\n{line}\n")
    assert (refused.value.field, refused.value.rule) == (field, rule)


def test_the_root_key_is_in_the_list_with_its_day(counter: Counter) -> None:
    infos = counter.vault.keys.list(counter.furnished.request(counter.actor("admin")))
    root = [info for info in infos.keys if info.kind == "root"]
    assert [(info.version, info.state, info.light) for info in root] == [(1, "active", "green")]
    assert root[0].due_at is not None
    assert root[0].data_keys is None
