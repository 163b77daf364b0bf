"""Servers that hold root keys. What they take is imported when the first test asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.openbao import OpenBaoServer
    from tests.support.softhsm import SoftHsm, SoftToken


@pytest.fixture(scope="session")
def openbao() -> Iterator[OpenBaoServer]:
    """One private OpenBao for all tests of this process; each test makes keys of its own."""
    from tests.support.openbao import OpenBaoServer

    with OpenBaoServer() as server:
        yield server


@pytest.fixture
def own_openbao() -> Iterator[OpenBaoServer]:
    """A private OpenBao for this test alone, to seal and to break."""
    from tests.support.openbao import OpenBaoServer

    with OpenBaoServer() as server:
        yield server


@pytest.fixture(scope="session")
def softhsm() -> Iterator[SoftHsm]:
    """The SoftHSM2 of this process, started when the first test asks."""
    from tests.support.softhsm import SoftHsm

    with SoftHsm() as hsm:
        yield hsm


@pytest.fixture
def soft_token(softhsm: SoftHsm) -> SoftToken:
    """A PKCS#11 token of this test's own, without keys."""
    return softhsm.create_token()
