"""Servers and tokens that hold root keys. What they take is imported when the first test asks.

SoftHSM2 comes with the operating system and in no wheel. Where it is not installed the tests of it are left
out, and the run says so; in CI they fail instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.openbao import OpenBaoServer
    from tests.support.softhsm import SoftHsm, SoftToken

OF_SOFTHSM = frozenset({"softhsm", "soft_token"})


def without_softhsm() -> bool:
    """Say whether the tests of PKCS#11 are left out: SoftHSM2 is not here, and this is not CI."""
    from tests.support.softhsm import NoSoftHsmError, find_module

    if os.environ.get("CI"):
        return False
    try:
        find_module()
    except NoSoftHsmError:
        return True
    return False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    of_softhsm = [item for item in items if OF_SOFTHSM.intersection(getattr(item, "fixturenames", ()))]
    if of_softhsm and without_softhsm():
        config.hook.pytest_deselected(items=of_softhsm)
        items[:] = [item for item in items if item not in of_softhsm]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if without_softhsm():
        terminalreporter.write_line("without PKCS#11: apt-get install softhsm2 to test it too", yellow=True)


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
