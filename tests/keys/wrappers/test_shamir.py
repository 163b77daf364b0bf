from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Callable
from functools import partial
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
import shamir_mnemonic
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.errors import DecryptionError, MalformedError, WrapperUnavailableError
from keys.secret import SecretBytes, SecretText
from keys.wrappers import KeyWrapper
from keys.wrappers.shamir import Progress, ShamirWrapper, ShareCollector

KEY = bytes(range(32))
CREATED, SHARES = ShamirWrapper.create(3, 5)
WRAPPED = CREATED.wrap(SecretBytes(KEY), b"context")

EARLIER = """
arena olympic academic acid adequate diet regret either tidy fiber hairy inside view focus device
library black hormone cargo laundry heat mild profile manual fitness insect empty lily wolf watch
adjust founder pumps

arena olympic academic agency analysis software tracks holy smith glad lunar hamster excuse fact
presence credit ladybug gray husband overall believe perfect chubby wisdom stick island warn escape
wine jump hormone slim hour

arena olympic academic always aide lamp album insect pancake rhythm prize ceiling clinic luxury cage
software snapshot regret rumor review learn large presence helpful floral puny clay canyon elbow
wrap advance payroll gather
""".strip().split("\n\n")
"""Shares of ``KEY``, two of which are needed, printed when the format was made."""
TESTS = Path(__file__).parents[2]


def opened(wrapper: KeyWrapper, wrapped: bytes, context: bytes = b"context") -> bytes:
    return wrapper.unwrap(wrapped, context).expose()


def printed(secret: bytes = KEY, identifier: int = 7, **differing: Any) -> list[SecretText]:
    """Return shares as the library makes them, so that sets can be alike where chance would not have it."""
    extendable, exponent = differing.get("extendable", True), differing.get("exponent", 0)
    groups, needed = differing.get("groups", [(2, 3)]), differing.get("groups_needed", 1)
    sealed = shamir_mnemonic.EncryptedMasterSecret(identifier, extendable, exponent, secret)
    made = shamir_mnemonic.split_ems(needed, groups, sealed)
    return [SecretText(share.mnemonic()) for group in made for share in group]


def collecting(*shares: SecretText) -> ShareCollector:
    collector = ShareCollector()
    for share in shares:
        collector.add(share)
    return collector


def refused(rule: str, call: Callable[[], object], *secrets: SecretText) -> WrapperUnavailableError:
    """Return the error of ``call``, which holds no word of ``secrets``, nor do the variables on its way."""
    with pytest.raises(WrapperUnavailableError) as caught:
        call()
    error = caught.value
    assert error.rule == rule
    assert error.hint
    assert error.__context__ is None
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    # The frames of the test know the secrets; those of the product are under test.
    report.stack[:] = [frame for frame in report.stack if not Path(frame.filename).is_relative_to(TESTS)]
    told = "".join(report.format()) + repr(error.args)
    assert "value=" not in told  # As in the representation of a share that the library has read.
    for words in (secret.expose().split() for secret in secrets):
        # By pairs, or in quotes: a hint may well have one word of a share.
        assert not [pair for pair in pairwise(words) if " ".join(pair) in told]
        assert not [word for word in words if f"'{word}'" in told]
    return error


# Making and combining


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_k_shares_combine_and_any_fewer_do_not(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 16))
    threshold = data.draw(st.integers(2, count))
    created, shares = ShamirWrapper.create(threshold, count)
    wrapped = created.wrap(SecretBytes(KEY), b"context")
    some = data.draw(st.permutations(shares))[:threshold]
    assert opened(ShamirWrapper.combine(some), wrapped) == KEY
    refused("shares_missing", lambda: ShamirWrapper.combine(some[1:]), *shares)


def test_every_choice_of_three_of_five_combines() -> None:
    assert len(SHARES) == 5
    for some in combinations(SHARES, 3):
        assert opened(ShamirWrapper.combine(some), WRAPPED) == KEY


def test_no_choice_of_two_does() -> None:
    for some in combinations(SHARES, 2):
        refused("shares_missing", partial(ShamirWrapper.combine, some), *SHARES)


def test_one_share_too_many_is_fine() -> None:
    for count in (4, 5):
        assert opened(ShamirWrapper.combine(SHARES[:count]), WRAPPED) == KEY


def test_reads_shares_printed_earlier() -> None:
    wrapper = ShamirWrapper.combine([SecretText(EARLIER[2]), SecretText(EARLIER[0])])
    assert wrapper.describe() == "Shamir shares, 2 needed, fingerprint f40af7004a4dc75b"
    assert wrapper.describe()[-16:] == ShamirWrapper(SecretBytes(KEY), "").describe()[-16:]


def test_shares_are_those_of_the_standard() -> None:
    words = [share.expose().split() for share in SHARES]
    assert {len(share) for share in words} == {33}
    assert len({tuple(share[:3]) for share in words}) == 1
    parsed = [shamir_mnemonic.Share.from_mnemonic(share.expose()) for share in SHARES]
    assert {(share.extendable, share.iteration_exponent) for share in parsed} == {(True, 0)}
    assert [share.index for share in parsed] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("shares", [-1, 0, 1, 17, 255])
def test_refuses_a_number_of_shares_out_of_bounds(shares: int) -> None:
    with pytest.raises(MalformedError, match="shares"):
        ShamirWrapper.create(2, shares)


@pytest.mark.parametrize("threshold", [-1, 0, 1, 6, 16])
def test_refuses_a_threshold_out_of_bounds(threshold: int) -> None:
    with pytest.raises(MalformedError, match="threshold"):
        ShamirWrapper.create(threshold, 5)


def test_two_sets_have_keys_of_their_own() -> None:
    other, _ = ShamirWrapper.create(3, 5)
    with pytest.raises(DecryptionError):
        opened(other, WRAPPED)


def test_refuses_another_context() -> None:
    with pytest.raises(DecryptionError):
        opened(CREATED, WRAPPED, b"another")


@pytest.mark.parametrize("place", range(61))
def test_refuses_a_changed_byte(place: int) -> None:
    changed = bytearray(WRAPPED)
    changed[place] ^= 1
    with pytest.raises(DecryptionError):
        opened(CREATED, bytes(changed))


# Collecting


def test_collector_says_how_far_it_is() -> None:
    collector = ShareCollector()
    told = [collector.add(share) for share in SHARES[:4]]
    assert told == [Progress(1, 3), Progress(2, 3), Progress(3, 3), Progress(4, 3)]
    assert opened(collector.wrapper(), WRAPPED) == KEY


def test_collector_says_how_many_are_missing() -> None:
    hints = [
        refused("shares_missing", collecting(*SHARES[:given]).wrapper, *SHARES).hint for given in range(3)
    ]
    assert hints == ["at least 2 more shares", "2 more shares", "1 more share"]
    refused("shares_missing", lambda: ShamirWrapper.combine([]))


def test_collector_takes_any_case_and_spacing() -> None:
    typed = SecretText("\t" + SHARES[0].expose().upper().replace(" ", " \n ") + "\n")
    assert collecting(typed).add(SHARES[1]) == Progress(2, 3)


def test_refuses_a_share_given_already_in_any_spacing() -> None:
    collector = collecting(SHARES[0], SHARES[1])
    refused("share_duplicate", lambda: collector.add(SHARES[0]), *SHARES)
    again = SecretText(SHARES[1].expose().upper().replace(" ", "  "))
    error = refused("share_duplicate", lambda: collector.add(again), *SHARES)
    assert error.message == "share 3"
    assert collector.add(SHARES[4]) == Progress(3, 3)


@given(st.text(max_size=300))
def test_refuses_what_is_no_share(text: str) -> None:
    refused("share_malformed", lambda: ShareCollector().add(SecretText(text)))


@given(st.lists(st.sampled_from(" ".join(EARLIER).split()), max_size=60))
def test_refuses_words_that_are_no_share(words: list[str]) -> None:
    # Three words of checksum: one list in a thousand million would pass.
    refused("share_malformed", lambda: ShareCollector().add(SecretText(" ".join(words))))


@pytest.mark.parametrize("place", range(33))
def test_refuses_a_mistyped_word(place: int) -> None:
    words = SHARES[0].expose().split()
    for typed in ("acrobat" if words[place] != "acrobat" else "acquire", "zzzzzz", ""):
        mistyped = SecretText(" ".join([*words[:place], typed, *words[place + 1 :]]))
        refused("share_malformed", partial(ShareCollector().add, mistyped), mistyped)


def test_refuses_two_words_exchanged() -> None:
    words = EARLIER[0].split()
    words[5], words[6] = words[6], words[5]
    refused("share_malformed", lambda: ShareCollector().add(SecretText(" ".join(words))))


def test_refuses_a_text_too_long_without_reading_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_text: str) -> None:
        pytest.fail("the text was read")

    monkeypatch.setattr(shamir_mnemonic.Share, "from_mnemonic", read)
    refused("share_malformed", lambda: ShareCollector().add(SecretText("academic " * 200)))


def test_refuses_a_share_of_another_set() -> None:
    collector = collecting(*printed(identifier=7)[:1])
    for others in (printed(identifier=8), printed(identifier=7, groups=[(3, 5)])):
        refused("share_of_another_set", partial(collector.add, others[1]), *others)
    assert collector.add(printed(identifier=7)[2]) == Progress(2, 2)


def test_refuses_another_share_of_the_same_number() -> None:
    first, other = printed(KEY), printed(bytes(32))
    refused("share_of_another_set", lambda: collecting(first[0]).add(other[0]), *first, *other)


@pytest.mark.parametrize(
    "foreign",
    [
        printed(bytes(16)),
        printed(bytes(34)),
        printed(extendable=False),
        printed(exponent=1),
        printed(exponent=15),
        printed(groups=[(1, 1)]),
        printed(groups=[(2, 3), (2, 3)]),
        printed(groups=[(2, 3), (2, 3)], groups_needed=2),
    ],
    ids=["short", "long", "not_extendable", "slow", "slowest", "one_of_one", "two_groups", "both_groups"],
)
def test_refuses_a_share_that_no_vault_made(foreign: list[SecretText]) -> None:
    for share in foreign:
        refused("share_of_another_set", partial(ShareCollector().add, share), *foreign)


def test_refuses_shares_that_only_look_like_one_set() -> None:
    first, other = printed(KEY), printed(bytes(32))
    collector = collecting(first[0], other[1])
    refused("shares_mismatch", collector.wrapper, *first, *other)


def test_refusal_leaves_the_collection_as_it_was() -> None:
    collector = collecting(SHARES[0])
    for share in (SHARES[0], SecretText("no share"), printed()[0]):
        with pytest.raises(WrapperUnavailableError):
            collector.add(share)
    assert collector.add(SHARES[1]) == Progress(2, 3)


# Keeping the secret


def test_description_says_how_many_shares_and_which_key() -> None:
    combined = ShamirWrapper.combine(SHARES[2:])
    assert CREATED.describe().startswith("Shamir shares, 3 of 5, fingerprint ")
    assert combined.describe().startswith("Shamir shares, 3 needed, fingerprint ")
    assert CREATED.describe()[-16:] == combined.describe()[-16:]


def test_representations_keep_the_shares() -> None:
    collector = collecting(*SHARES)
    shown = f"{CREATED!r} {SHARES!r} {collector!r} {collector} {collector._shares!r} {collector.wrapper()!r}"
    # Two words in a row: one alone may be a word of Python's own, such as "object".
    pairs = [pair for share in SHARES for pair in pairwise(share.expose().split())]
    assert not [pair for pair in pairs if " ".join(pair) in shown]


@pytest.mark.parametrize("secret", [CREATED, collecting(*SHARES), SHARES])
def test_refuses_to_be_pickled_or_copied(secret: object) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(secret)
