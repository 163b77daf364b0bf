"""The caps of the policy: more is refused whole, and logged, and nothing is cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.counter import Counter, phone
from tests.support.furnished import POLICY, furnish, phones
from vault.domain.errors import LimitExceededError
from vault.domain.model import Outcome, Reveal
from vault.storage import tables


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    """A vault whose policy allows three values in, three masked out, two whole."""
    text = POLICY.read_text(encoding="utf-8")
    for name, limit in (("tokenize_batch", 3), ("detokenize_batch", 3), ("plain_batch", 2)):
        text = re.sub(rf"^{name} = [0-9]+$", f"{name} = {limit}", text, flags=re.MULTILINE)
    home: Path = tmp_path_factory.mktemp("narrow") / "home"
    counter = Counter(furnish(home, policy_text=text))
    yield counter
    counter.vault.close()


@pytest.fixture
def tokens(narrow: Counter) -> list[str]:
    """As many tokens as one request may swap."""
    return [answer["token"] for answer in narrow.tokenize(*map(phone, phones(3)))["items"]]


def test_more_values_than_the_policy_allows_are_refused_whole(narrow: Counter, tokens: list[str]) -> None:
    before = narrow.count(tables.token)
    with pytest.raises(LimitExceededError) as refused:
        narrow.tokenize(*map(phone, phones(len(tokens) + 1)))
    assert (refused.value.field, refused.value.rule) == ("items", "too_many")
    assert narrow.count(tables.token) == before
    assert narrow.last().entry.outcome is Outcome.REFUSED


def test_whole_values_have_a_cap_of_their_own(narrow: Counter, tokens: list[str]) -> None:
    assert len(narrow.detokenize(*tokens, reveal=Reveal.MASKED)["items"]) == 3
    assert len(narrow.detokenize(*tokens[:2])["items"]) == 2
    with pytest.raises(LimitExceededError):
        narrow.detokenize(*tokens)


def test_more_tokens_than_the_policy_allows_are_refused_whole(narrow: Counter, tokens: list[str]) -> None:
    with pytest.raises(LimitExceededError):
        narrow.detokenize(*tokens, tokens[0], reveal=Reveal.MASKED)
