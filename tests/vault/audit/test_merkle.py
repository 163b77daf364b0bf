"""The tree is that of RFC 6962, at every size and from every point of resumption."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from tests.vault.audit.make_vectors import CT_LEAVES, VECTORS, naive_root
from vault.audit.merkle import EMPTY_ROOT, Frontier, MalformedFrontierError, leaf_hash, node_hash, roots_at

SHARED = Path(__file__).parents[4] / "shared" / "vectors"
LEAVES = [b"%d" % number for number in range(300)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


def vectors() -> Any:
    return json.loads((VECTORS / "merkle.json").read_text())


def frontier_of(size: int) -> Frontier:
    frontier = Frontier()
    frontier.extend(HASHES[:size])
    return frontier


def test_root_is_that_of_the_recursive_definition_at_every_size() -> None:
    frontier = Frontier()
    assert frontier.root() == naive_root([])
    for size, leaf in enumerate(HASHES, 1):
        frontier.append(leaf)
        assert frontier.size == size
        assert frontier.root() == naive_root(LEAVES[:size]), size


def test_root_is_that_of_the_vectors() -> None:
    for vector in vectors()["roots"]:
        assert frontier_of(vector["size"]).root().hex() == vector["root"]


def test_root_is_that_of_the_certificate_transparency_test_log() -> None:
    published = vectors()["certificate_transparency"]
    frontier = Frontier()
    for leaf, root in zip(published["leaves"], published["roots"], strict=True):
        frontier.append(leaf_hash(bytes.fromhex(leaf)))
        assert frontier.root().hex() == root


def test_root_is_that_of_the_shared_vectors_where_they_stand_beside_the_checkout() -> None:
    roots = roots_at([leaf_hash(bytes.fromhex(leaf)) for leaf in CT_LEAVES], range(9))
    for path in SHARED.glob("merkle-*.json"):
        for case in json.loads(path.read_text())["cases"]:
            if case["wantErr"]:
                continue
            for size, root in (("size1", "root1"), ("size2", "root2"), ("treeSize", "root")):
                if size in case:
                    assert roots[case[size]] == b64decode(case[root]), case["name"]
            if "leafIdx" in case:
                assert leaf_hash(bytes.fromhex(CT_LEAVES[case["leafIdx"]])) == b64decode(case["leafHash"])


def test_a_leaf_cannot_pass_for_a_node() -> None:
    left, right = HASHES[:2]
    assert leaf_hash(left + right) != node_hash(left, right)
    assert leaf_hash(b"\x01" + left + right) != node_hash(left, right)


def test_a_frontier_survives_its_bytes_at_every_size() -> None:
    for size in range(301):
        data = frontier_of(size).to_bytes()
        assert len(data) == 8 + 32 * size.bit_count()
        again = Frontier.from_bytes(data)
        assert (again.size, again.root()) == (size, frontier_of(size).root())


def test_a_restored_frontier_grows_like_the_first() -> None:
    again = Frontier.from_bytes(frontier_of(123).to_bytes())
    again.extend(HASHES[123:])
    assert again.root() == frontier_of(300).root()


def test_a_copy_grows_by_itself() -> None:
    first = frontier_of(5)
    twin = first.copy()
    twin.append(HASHES[5])
    assert (first.size, first.root()) == (5, frontier_of(5).root())
    assert (twin.size, twin.root()) == (6, frontier_of(6).root())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(7),
        bytes(9),
        frontier_of(5).to_bytes()[:-1],
        frontier_of(5).to_bytes() + b"\x00",
        frontier_of(5).to_bytes()[:-32],
        (1 << 63).to_bytes(8, "big") + bytes(32),
    ],
)
def test_refuses_bytes_that_are_no_frontier(data: bytes) -> None:
    with pytest.raises(MalformedFrontierError):
        Frontier.from_bytes(data)


def test_roots_are_recomputed_at_the_sizes_asked_for_and_no_others() -> None:
    roots = roots_at(iter(HASHES), [0, 1, 256, 300, 301])
    assert roots == {
        0: EMPTY_ROOT,
        1: HASHES[0],
        256: naive_root(LEAVES[:256]),
        300: naive_root(LEAVES),
    }
