"""Any mixture of requests in any order leaves a log that proves itself, and tokens that open."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.counter import GENDER, LOGIN, PHONE, Counter, item
from vault.domain.errors import VaultError
from vault.tokens.requests import TokenizeItem
from vault.tokens.work import HotWork

VALUES = {
    PHONE: st.integers(0, 9999).map(lambda number: f"010-1234-{number:04d}"),
    LOGIN: st.text("abcdefghij0123456789", min_size=6, max_size=16).map(lambda text: "a" + text),
    GENDER: st.sampled_from(["F", "M", "U", "?"]),
    "member.nonsense": st.just("x"),
}


@st.composite
def _items(draw: st.DrawFn) -> TokenizeItem:
    field = draw(st.sampled_from(list(VALUES)))
    label = draw(st.sampled_from(["", "a", "b"]))
    reference = draw(st.sampled_from(["", "", "user-1", "user-2", "user-3"]))
    more = {"external_ref": reference} if reference else {}
    return item(field, draw(VALUES[field]), label=label, **more)


@dataclass(frozen=True)
class Asked:
    """One request to be made; ``pick`` chooses among the tokens there are by then."""

    act: str
    items: tuple[TokenizeItem, ...] = ()
    pick: int = 0
    key: str = ""
    by: str = "shop"


_ACTORS = st.sampled_from(["shop", "shop", "desk", "minji", "chief"])
_TOKENIZE = st.builds(
    Asked,
    act=st.just("tokenize"),
    items=st.lists(_items(), min_size=1, max_size=6).map(tuple),
    key=st.sampled_from(["", "", "k1", "k2"]),
    by=_ACTORS,
)
_OTHER = st.builds(
    Asked,
    act=st.sampled_from(["detokenize", "search", "show", "revoke"]),
    pick=st.integers(0, 99),
    by=_ACTORS,
)
_UNITS = st.lists(st.lists(st.one_of(_TOKENIZE, _OTHER), min_size=1, max_size=6), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(units=_UNITS)
def test_any_mixture_leaves_a_sound_log_and_sound_tokens(counter: Counter, units: list[list[Asked]]) -> None:
    values: dict[str, str] = {}
    revoked: set[str] = set()
    start = counter.next_index()
    for unit in units:
        works = [_work(counter, asked, list(values)) for asked in unit]
        counter.together(*works)
        for asked, work in zip(unit, works, strict=True):
            assert work.error is None or isinstance(work.error, VaultError)
            if work.error is None and asked.act == "tokenize" and "replayed" not in work.result:
                values.update(_expected(counter, asked, work))
            if work.error is None and asked.act == "revoke":
                revoked.add(work.result["token"])
    requests = [logged.entry for logged in counter.log(start) if logged.entry.part[0] == 1]
    # A rolled-back unit is tried in halves, and its works are still logged once each.
    assert len(requests) <= sum(map(len, units)) + len(units)
    _verify_tokens(counter, values, revoked)
    counter.verify_log()
    assert counter.alarms() == []


def _work(counter: Counter, asked: Asked, tokens: list[str]) -> HotWork:
    if asked.act == "tokenize":
        return counter.tokenizing(asked.items, key=asked.key, by=asked.by)
    token = tokens[asked.pick % len(tokens)] if tokens else "phn_none"
    if asked.act == "search":
        return counter.searching(PHONE, f"010-1234-{asked.pick:04d}", by=asked.by)
    if asked.act == "detokenize":
        return counter.detokenizing([token, "phn_none"], by=asked.by)
    if asked.act == "show":
        return counter.showing(token, by=asked.by)
    return counter.revoking(token, by=asked.by)


def _expected(counter: Counter, asked: Asked, work: HotWork) -> dict[str, str]:
    fields = counter.furnished.policy.fields
    expected = {}
    for given_item, answer in zip(asked.items, work.result["items"], strict=True):
        if "token" in answer:
            field = fields[given_item.field]
            expected[answer["token"]] = field.display(field.normalise(given_item.value))
    return expected


def _verify_tokens(counter: Counter, values: dict[str, str], revoked: set[str]) -> None:
    if not values:
        return
    for answer in counter.detokenize(*values)["items"]:
        token = answer["token"]
        if token in revoked:
            assert answer["error"]["code"] == "token_revoked"
        else:
            assert answer["value"] == values[token]
