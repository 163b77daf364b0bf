"""A batch is opened in one piece; an odd item among good ones gets what it gets alone, and no other does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert

from keys.datakeys import Binding, generate_data_key
from tests.conformance.counter import GENDER, LOGIN, PHONE, Counter, item, phone
from tests.conformance.test_detokenize import restrict
from vault.domain.model import Reveal, SubjectState
from vault.storage import tables

VALUES = [f"010-1234-{at:04d}" for at in range(6)]

Spoil = Callable[[Counter, str, str], object]
"""What is done behind the counter to the first of two tokens; the second is another person's."""


def _change(counter: Counter, token: str, **columns: Any) -> None:
    counter.change(tables.token, {"id": counter.row_id(token)}, **columns)


def _pad_wrongly(counter: Counter, token: str, _other: str) -> None:
    """Seal what is no padded text, under the right key and in the right place."""
    row, standing = counter.row_of(token), counter.vault.standings.current
    stored = counter.row(tables.data_key, subject_id=row["subject_id"])
    binding = Binding(row["subject_id"], stored["generation"], SubjectState.OPEN)
    key = standing.keyring.active_epoch().unwrap(binding, bytes(stored["wrapped"]))
    context = standing.value_context.value(row["subject_id"], standing.by_name[PHONE].context_part, row["id"])
    _change(counter, token, envelope=key.seal(context, bytes(12), b"\xff" * 32))


def _add_data_key(counter: Counter, token: str, _other: str) -> None:
    subject_id = counter.row_of(token)["subject_id"]
    epoch = counter.vault.standings.current.keyring.active_epoch()
    wrapped = epoch.wrap(Binding(subject_id, 2, SubjectState.OPEN), bytes(12), generate_data_key())
    row = {"subject_id": subject_id, "generation": 2, "epoch": epoch.epoch, "wrapped": wrapped}
    counter.tamper(insert(tables.data_key).values(row))


SPOILED: dict[str, Spoil] = {
    "padded wrongly": _pad_wrongly,
    "revoked": lambda counter, token, _: counter.revoke(token),
    "restricted": lambda counter, token, _: restrict(
        counter, counter.row_of(token)["subject_id"], SubjectState.RESTRICTED
    ),
    "flipped state": lambda counter, token, _: counter.change(
        tables.subject, {"id": counter.row_of(token)["subject_id"]}, state=1
    ),
    "no subject": lambda counter, token, _: counter.tamper(
        tables.subject.delete().filter_by(id=counter.row_of(token)["subject_id"])
    ),
    "no row": lambda counter, token, _: counter.tamper(
        tables.token.delete().filter_by(id=counter.row_id(token))
    ),
    "another nonce": lambda counter, token, other: _change(
        counter, token, nonce=counter.row_of(other)["nonce"]
    ),
    "a longer nonce": lambda counter, token, _: _change(
        counter, token, nonce=counter.row_of(token)["nonce"] + b"\0"
    ),
    "another envelope": lambda counter, token, other: _change(
        counter, token, envelope=counter.row_of(other)["envelope"]
    ),
    "no envelope": lambda counter, token, _: _change(counter, token, envelope=b""),
    "another generation": lambda counter, token, _: _change(
        counter, token, envelope=b"\1\0\0\0\2" + counter.row_of(token)["envelope"][5:]
    ),
    "a cut envelope": lambda counter, token, _: _change(
        counter, token, envelope=counter.row_of(token)["envelope"][:20]
    ),
    "another subject": lambda counter, token, other: _change(
        counter, token, subject_id=counter.row_of(other)["subject_id"]
    ),
    "another field": lambda counter, token, _: _change(
        counter, token, field_id=counter.vault.standings.current.by_name[LOGIN].id
    ),
    "an undeclared field": lambda counter, token, _: _change(counter, token, field_id=999),
    "an id out of range": lambda counter, token, _: _change(counter, token, subject_id=-1),
}


def _tokens(counter: Counter) -> list[str]:
    return [answer["token"] for answer in counter.tokenize(*map(phone, VALUES))["items"]]


def _told(counter: Counter, *tokens: str, **more: Any) -> list[tuple[dict[str, Any], str]]:
    """Return the answer of each token and what the log says of it."""
    result = counter.detokenize(*tokens, **more)
    return list(zip(result["items"], counter.log(result["log_index"])[0].outcomes, strict=True))


def _alone(counter: Counter, *tokens: str, **more: Any) -> list[tuple[dict[str, Any], str]]:
    return [told for token in tokens for told in _told(counter, token, **more)]


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_one_spoiled_item_is_answered_as_it_is_alone(counter: Counter, spoil: Spoil) -> None:
    tokens = _tokens(counter)
    spoil(counter, tokens[3], tokens[0])
    together = _told(counter, *tokens)
    assert [answer.get("value") for answer, _ in together] == [*VALUES[:3], None, *VALUES[4:]]
    assert together == _alone(counter, *tokens)
    counter.verify_log()


def test_a_subject_with_two_data_keys_is_opened_among_others(counter: Counter) -> None:
    tokens = _tokens(counter)
    _add_data_key(counter, tokens[3], tokens[0])
    together = _told(counter, *tokens)
    assert [answer["value"] for answer, _ in together] == VALUES
    assert together == _alone(counter, *tokens)


@pytest.mark.parametrize("odd", ["", "phn_", "nothing"])
def test_one_text_that_is_no_token_is_answered_as_it_is_alone(counter: Counter, odd: str) -> None:
    tokens = [*_tokens(counter), odd]
    assert _told(counter, *tokens) == _alone(counter, *tokens)


@pytest.mark.parametrize("reveal", list(Reveal))
def test_fields_and_subjects_may_be_mixed(counter: Counter, reveal: Reveal) -> None:
    items = [phone(VALUES[0], label="a"), item(GENDER, "F", label="a"), item(LOGIN, "minji77", label="b")]
    tokens = [answer["token"] for answer in counter.tokenize(*items, *map(phone, VALUES))["items"]]
    tokens += tokens[::-1]
    together = _told(counter, *tokens, reveal=reveal)
    assert together == _alone(counter, *tokens, reveal=reveal)
    assert {answer["field"] for answer, _ in together} == {PHONE, GENDER, LOGIN}


def test_a_field_that_is_not_granted_is_refused_among_others(counter: Counter) -> None:
    items = [*map(phone, VALUES), item(LOGIN, "minji77")]
    tokens = [answer["token"] for answer in counter.tokenize(*items)["items"]]
    how: dict[str, Any] = {"by": "desk", "reveal": Reveal.MASKED}
    together = _told(counter, *tokens, **how)
    assert together == _alone(counter, *tokens, **how)
    assert [outcome for _, outcome in together] == ["masked"] * 6 + ["access_denied"]
