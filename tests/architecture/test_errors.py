"""Every error of the vault has its place in HTTP, and no two of them share a code."""

from __future__ import annotations

from collections.abc import Iterator

from api.errors import STATUS
from api.v1.documents import problems
from vault.domain import errors
from vault.domain.errors import VaultError


def _tree(root: type[VaultError]) -> Iterator[type[VaultError]]:
    """Yield the classes of ``vault.domain.errors``; storage has some of its own, which go no further."""
    if root.__module__ == errors.__name__:
        yield root
    for kind in root.__subclasses__():
        yield from _tree(kind)


TREE = list(_tree(VaultError))


def test_every_error_has_a_status() -> None:
    assert [kind.__name__ for kind in TREE if kind not in STATUS] == []
    assert set(STATUS) == set(TREE)


def test_codes_are_distinct() -> None:
    codes = [kind.code for kind in TREE]
    assert len(set(codes)) == len(codes)


def test_every_status_is_documented() -> None:
    assert set(problems({status for status, _ in STATUS.values()})) == {
        status for status, _ in STATUS.values()
    }


def test_the_tree_in_the_documentation_is_the_one_in_the_code() -> None:
    documented = errors.__doc__ or ""
    for kind in TREE:
        assert kind.__name__ in documented, kind.__name__
