"""Rules of a run, as a pytest plug-in: nothing skipped, nothing expected to fail, no network.

With ``--both-databases`` (``make test`` gives it) a run also fails unless tests passed on SQLite and on
PostgreSQL, so that a green run cannot hide a missing half.
"""

from __future__ import annotations

import re

import pytest

from tests.support import network

_UNDECIDED = ("skipped", "xfailed", "xpassed")
_DATABASE = re.compile(r"[\[-](sqlite|postgresql)[\]-]")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--both-databases",
        action="store_true",
        default=False,
        help="fail unless tests passed on SQLite and on PostgreSQL",
    )


def pytest_configure() -> None:
    network.install()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _breaches(session.config) and session.exitstatus in {
        pytest.ExitCode.OK,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    }:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for breach in _breaches(config):
        terminalreporter.write_line(breach, red=True)
    passed = _passed_by_database(terminalreporter)
    if any(passed.values()):
        terminalreporter.write_line(", ".join(f"{count} on {name}" for name, count in passed.items()))


def _breaches(config: pytest.Config) -> list[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not isinstance(reporter, pytest.TerminalReporter):
        return []  # A worker: the run is judged where all its reports meet.
    breaches = [
        f"a run with {len(reporter.stats[kind])} {kind} is not green: nothing may be left out"
        for kind in _UNDECIDED
        if reporter.stats.get(kind)
    ]
    if config.getoption("both_databases"):
        passed = _passed_by_database(reporter)
        breaches += [f"no test passed on {name}" for name, count in passed.items() if count == 0]
    return breaches


def _passed_by_database(reporter: pytest.TerminalReporter) -> dict[str, int]:
    passed = {"sqlite": 0, "postgresql": 0}
    for report in reporter.stats.get("passed", []):
        for name in set(_DATABASE.findall(report.nodeid)):
            passed[name] += 1
    return passed
