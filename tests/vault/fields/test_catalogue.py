from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vault.fields.samples import GOOD, SETTINGS, TYPES, outcome, refused_rule
from vault.domain.errors import InvalidValueError
from vault.fields.base import ENUM_BUCKETS, TEXT_BUCKETS, Field, FieldType
from vault.fields.catalogue import CATALOGUE, PREFIXES
from vault.fields.rules import EXPLANATIONS, SettingError

ENUMERATED = {"gender", "age_band", "enum"}
EVERY_TYPE = pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)

_PIECES = st.sampled_from(
    [
        *GOOD.values(),
        "*",
        "○",
        "010",
        "-1234-",
        "5678",
        "@",
        ".com",
        "홍",
        "＋８２",
        "\u0301",
        "\u200c",
        "가",
        "ㄱ",
        " ",
    ]
)
_TEXTS = st.one_of(st.text(max_size=40), st.lists(_PIECES, max_size=6).map("".join))
_DATES = st.dates().map(lambda day: day.strftime("%y%m%d"))
_RESIDENT = st.builds(
    "{}{}{}".format,
    _DATES,
    st.sampled_from(["", "-", " ", " - ", "–", "－", "."]),
    st.from_regex(r"[0-9]{7}", fullmatch=True),
)


def test_prefixes_are_three_letters_unique_and_leave_sub_to_subjects() -> None:
    prefixes = [kind.prefix for kind in TYPES.values()]
    assert len(set(prefixes)) == len(prefixes)
    assert all(len(prefix) == 3 and prefix.isascii() and prefix.islower() for prefix in prefixes)
    assert "sub" not in prefixes


def test_each_type_is_catalogued_under_its_own_name_and_prefix() -> None:
    assert {name: kind.name for name, kind in TYPES.items()} == {name: name for name in CATALOGUE}
    assert {name: kind.prefix for name, kind in TYPES.items()} == dict(PREFIXES)


@EVERY_TYPE
def test_enumerated_types_have_one_size_and_are_never_searchable(kind: FieldType) -> None:
    if kind.name in ENUMERATED:
        assert kind.buckets == ENUM_BUCKETS
        assert not kind.searchable
    else:
        assert set(kind.buckets) <= set(TEXT_BUCKETS)
        assert kind.searchable is (kind.name != "text")


@EVERY_TYPE
def test_refuses_empty_control_surrogate_and_oversized(kind: FieldType) -> None:
    good = GOOD[kind.name]
    assert refused_rule(kind, "") == "empty"
    assert refused_rule(kind, " \t\n\u3000") == "empty"
    assert refused_rule(kind, good + "\x00" + good) == "control"
    assert refused_rule(kind, good + "\u202e" + good) == "control"
    assert refused_rule(kind, good + "\ud800") == "surrogate"
    assert refused_rule(kind, "가" * 20_000) == "too_long"


@EVERY_TYPE
@settings(max_examples=60, deadline=None)
@given(
    number=_RESIDENT,
    before=st.sampled_from(["", "주민번호 ", "("]),
    after=st.sampled_from(["", "입니다", ")"]),
)
def test_refuses_resident_numbers_wherever_they_stand(
    kind: FieldType, number: str, before: str, after: str
) -> None:
    assert refused_rule(kind, before + number + after) == "resident_number"


@EVERY_TYPE
@settings(max_examples=150, deadline=None)
@given(text=_TEXTS)
def test_normalise_refuses_by_a_known_rule_or_keeps_its_promises(kind: FieldType, text: str) -> None:
    ending, result = outcome(kind.canonical, text)
    if ending == "refused":
        assert result in EXPLANATIONS
    else:
        _assert_promises(kind, result)


@EVERY_TYPE
def test_a_good_value_keeps_the_promises(kind: FieldType) -> None:
    _assert_promises(kind, kind.normalise(GOOD[kind.name], "member.sample"))


def _assert_promises(kind: FieldType, stored: str) -> None:
    assert kind.normalise(stored, "f") == stored
    assert kind.normalise(kind.display(stored), "f") == stored
    assert kind.padded_size(len(stored.encode())) in kind.buckets
    assert all(code.islower() for code in kind.warnings(stored))
    masked = kind.mask(stored)
    if masked != kind.display(stored):
        assert refused_rule(kind, masked) == "masked"


@EVERY_TYPE
def test_padded_size_counts_the_length_prefix_and_refuses_the_impossible(kind: FieldType) -> None:
    assert kind.padded_size(1) == kind.buckets[0]
    assert kind.padded_size(kind.buckets[0] - 2) == kind.buckets[0]
    assert kind.padded_size(kind.buckets[-1] - 2) == kind.buckets[-1]
    with pytest.raises(ValueError, match="largest bucket"):
        kind.padded_size(kind.buckets[-1] - 1)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_type_refuses_a_setting_it_does_not_have(name: str) -> None:
    with pytest.raises(SettingError) as caught:
        CATALOGUE[name]({**SETTINGS.get(name, {}), "colour": "red"})
    assert (caught.value.key, caught.value.rule) == ("colour", "unknown_key")


def test_a_field_speaks_in_its_own_name() -> None:
    field = Field(name="member.phone", kind="member", type=TYPES["phone"], settings={})
    stored = field.normalise("011-234-5678")
    assert (field.mask(stored), field.display(stored)) == ("011-****-5678", "011-234-5678")
    assert field.warnings(stored) == ("historic_prefix",)
    with pytest.raises(InvalidValueError, match=r"^member\.phone: is a short") as caught:
        field.normalise("114")
    assert (caught.value.field, caught.value.rule) == ("member.phone", "short_number")
