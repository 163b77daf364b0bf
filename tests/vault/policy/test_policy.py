from __future__ import annotations

import hashlib
from dataclasses import FrozenInstanceError
from datetime import date
from typing import Any

import pytest

from tests.vault.policy.samples import MINIMAL, changed
from vault.domain.errors import InvalidInputError, PurposeNotAllowedError
from vault.domain.model import STRANGER, Actor, ActorKind, Role
from vault.policy.model import Limits, Recipient
from vault.policy.policy import Policy

POLICY = Policy.parse(MINIMAL)


def _staff(*roles: Role, team: str = "") -> Actor:
    return Actor(kind=ActorKind.STAFF, id="stf_1", name="n", team=team, roles=tuple(roles))


SERVICE = Actor(kind=ActorKind.SERVICE, id="svc_1", name="shop")
OPERATOR = Actor(kind=ActorKind.OPERATOR, id="root", name="root", roles=("handler",), team="ethics")


def test_reads_the_head() -> None:
    assert (POLICY.company, POLICY.version, POLICY.timezone) == ("달무리북스", "1", "Asia/Seoul")
    assert (POLICY.notice, POLICY.effective) == (date(2026, 11, 1), date(2026, 12, 1))
    assert POLICY.officer_contact == "privacy@dalmuri.example"
    assert POLICY.text == MINIMAL


def test_the_digest_is_that_of_the_text() -> None:
    assert POLICY.digest == hashlib.sha256(MINIMAL.encode()).hexdigest()
    assert Policy.parse(MINIMAL + "\n").digest != POLICY.digest


def test_declares_fields_in_the_order_of_the_text() -> None:
    assert list(POLICY.fields) == ["member.phone", "member.gender"]
    gender = POLICY.field("member.gender")
    assert (gender.name, gender.kind, gender.type.prefix, gender.required) == (
        "member.gender",
        "member",
        "gen",
        True,
    )
    assert not POLICY.field("member.phone").required


def test_reads_purposes() -> None:
    assert list(POLICY.purposes) == ["inquiry", "ethics"]
    inquiry = POLICY.purpose("inquiry")
    assert (inquiry.code, inquiry.title, inquiry.legal_basis) == (
        "inquiry",
        "문의 접수와 회신",
        "제15조 제1항 제4호",
    )
    assert inquiry.fields == {"member.phone"}
    assert inquiry.roles == {"handler", "service"}
    assert inquiry.reason_required
    assert not POLICY.purpose("ethics").reason_required


def test_hands_settings_to_the_field_type() -> None:
    policy = Policy.parse(changed('type = "phone"', 'type = "enum"\nvalues = ["가", "나"]'))
    field = policy.field("member.phone")
    assert field.settings == {"values": ("가", "나")}
    assert field.normalise("가") == "가"


def test_limits_have_defaults_and_can_be_lowered() -> None:
    assert POLICY.limits == Limits()
    limits = Policy.parse(MINIMAL + "[limits]\nsearch_misses_per_minute = 5\nplain_batch = 10\n").limits
    assert limits == Limits(search_misses_per_minute=5, plain_batch=10)


def test_reads_recipients() -> None:
    assert POLICY.recipients == {}
    text = MINIMAL + '[recipients.courier]\ntitle = "택배"\ncontract = "C-1"\nfields = ["member.phone"]\n'
    assert Policy.parse(text).recipients == {
        "courier": Recipient(code="courier", title="택배", contract="C-1", fields=frozenset({"member.phone"}))
    }


@pytest.mark.parametrize("part", ["fields", "purposes", "recipients"])
def test_nothing_in_it_can_be_changed(part: str) -> None:
    mapping: Any = getattr(POLICY, part)
    with pytest.raises(TypeError):
        mapping["x"] = None
    settings: Any = POLICY.field("member.phone").settings
    with pytest.raises(TypeError):
        settings["region"] = "US"
    with pytest.raises(FrozenInstanceError):
        setattr(POLICY, part, {})


@pytest.mark.parametrize("name", ["", "member", "member.fax", "010-1234-5678" * 1000])
def test_an_unknown_field_is_refused_without_repeating_it(name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        POLICY.field(name)
    assert (caught.value.field, caught.value.rule) == ("field", "unknown_field")
    assert str(caught.value) == "the policy declares no such field"


def test_unknown_and_closed_purposes_give_the_same_answer() -> None:
    with pytest.raises(PurposeNotAllowedError) as unknown:
        POLICY.purpose("marketing" * 1000)
    with pytest.raises(PurposeNotAllowedError) as closed:
        POLICY.purpose("ethics").require_actor(SERVICE)
    with pytest.raises(PurposeNotAllowedError) as unused:
        POLICY.purpose("inquiry").require_field("member.gender")
    assert str(unknown.value) == str(closed.value) == str(unused.value)


@pytest.mark.parametrize("actor", [SERVICE, _staff(Role.HANDLER), _staff(Role.HANDLER, team="ethics")])
def test_a_purpose_opens_to_the_roles_it_lists(actor: Actor) -> None:
    POLICY.purpose("inquiry").require_actor(actor)
    POLICY.purpose("inquiry").require_field("member.phone")


@pytest.mark.parametrize("actor", [_staff(Role.HANDLER, team="ethics"), _staff(Role.OFFICER, team="ethics")])
def test_a_team_opens_a_purpose_to_its_reading_staff(actor: Actor) -> None:
    POLICY.purpose("ethics").require_actor(actor)


@pytest.mark.parametrize(
    ("code", "actor"),
    [
        ("inquiry", _staff(Role.OFFICER)),
        ("inquiry", _staff(Role.ADMINISTRATOR)),
        ("inquiry", _staff(Role.REVIEWER)),
        ("inquiry", _staff()),
        ("inquiry", OPERATOR),
        ("inquiry", STRANGER),
        ("ethics", _staff(Role.HANDLER)),
        ("ethics", _staff(Role.HANDLER, team="support")),
        ("ethics", _staff(Role.ADMINISTRATOR, team="ethics")),
        ("ethics", _staff(Role.REVIEWER, team="ethics")),
        ("ethics", SERVICE),
        ("ethics", OPERATOR),
    ],
)
def test_a_purpose_stays_closed_to_everybody_else(code: str, actor: Actor) -> None:
    with pytest.raises(PurposeNotAllowedError):
        POLICY.purpose(code).require_actor(actor)
