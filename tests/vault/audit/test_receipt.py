"""Only the log makes a receipt, and only the receipt of the very entry releases what was withheld."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path

import pytest

from vault.audit.receipt import LOG_SEAL, Receipt, Withheld
from vault.domain.errors import LogUnavailableError
from vault.domain.ids import LogIndex

ROOT = Path(__file__).parents[3]
HASHES = (b"\x01" * 32,)
CANARY = "010-1234-5678"


def receipt_for(hashes: tuple[bytes, ...] = HASHES) -> Receipt:
    return Receipt(LogIndex(7), hashes, "0" * 32, LOG_SEAL)


def test_releases_for_the_receipt_of_the_entry() -> None:
    assert Withheld([CANARY], HASHES).release(receipt_for()) == [CANARY]


def test_releases_for_the_receipt_of_an_entry_in_parts() -> None:
    hashes = (b"\x01" * 32, b"\x02" * 32)
    receipt = receipt_for(hashes)
    assert Withheld([CANARY], hashes).release(receipt) == [CANARY]
    assert receipt.leaf_hash == hashes[0]


@pytest.mark.parametrize(
    "hashes",
    [(b"\x02" * 32,), (HASHES[0], b"\x02" * 32), (), (HASHES[0][:31],)],
    ids=["another entry", "more parts", "nothing", "a shorter hash"],
)
def test_refuses_the_receipt_of_another_entry_and_keeps_the_values(hashes: tuple[bytes, ...]) -> None:
    withheld = Withheld([CANARY], HASHES)
    with pytest.raises(LogUnavailableError):
        withheld.release(receipt_for(hashes))
    assert withheld.release(receipt_for()) == [CANARY]


def test_releases_once() -> None:
    withheld = Withheld([CANARY], HASHES)
    withheld.release(receipt_for())
    with pytest.raises(LogUnavailableError):
        withheld.release(receipt_for())


def test_values_withheld_for_no_entry_are_never_released() -> None:
    with pytest.raises(LogUnavailableError):
        Withheld([CANARY], ()).release(receipt_for(()))


def test_refuses_what_only_looks_like_a_receipt() -> None:
    class Lookalike:
        leaf_hashes = HASHES

    with pytest.raises(LogUnavailableError):
        Withheld([CANARY], HASHES).release(Lookalike())  # type: ignore[arg-type]  # the forgery under test


@pytest.mark.parametrize("seal", [None, object(), True])
def test_refuses_to_make_a_receipt_without_the_seal(seal: object) -> None:
    with pytest.raises(TypeError, match="only the log"):
        Receipt(LogIndex(0), HASHES, "0" * 32, seal)


def test_refuses_a_receipt_made_without_its_constructor() -> None:
    hollow = Receipt.__new__(Receipt)
    with pytest.raises(AttributeError):
        Withheld([CANARY], HASHES).release(hollow)


def test_a_receipt_has_no_subclasses() -> None:
    with pytest.raises(TypeError, match="no subclasses"):
        type("Forged", (Receipt,), {})


def test_a_receipt_does_not_change() -> None:
    receipt = receipt_for()
    with pytest.raises(AttributeError):
        receipt.leaf_hashes = (b"\x02" * 32,)
    with pytest.raises(AttributeError):
        del receipt.leaf_hashes
    assert receipt.leaf_hashes == HASHES


@pytest.mark.parametrize("value", [receipt_for(), Withheld([CANARY], HASHES)], ids=["receipt", "withheld"])
def test_is_neither_copied_nor_pickled(value: object) -> None:
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            attempt(value)


def test_withheld_values_do_not_show() -> None:
    withheld = Withheld([CANARY], HASHES)
    assert repr(withheld) == str(withheld) == f"{withheld}" == "Withheld(redacted)"


def test_a_receipt_shows_where_the_entry_is() -> None:
    assert repr(receipt_for()) == f"Receipt(index=7, entry_id='{'0' * 32}')"


def test_the_seal_is_named_inside_the_log_alone() -> None:
    sources = [path for package in ("api", "cli", "keys", "vault") for path in (ROOT / package).rglob("*.py")]
    naming = {
        path.relative_to(ROOT).parts[:2] for path in sources if re.search(r"\bLOG_SEAL\b", path.read_text())
    }
    assert naming == {("vault", "audit")}
