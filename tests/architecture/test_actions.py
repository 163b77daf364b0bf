"""One action, one permission, one log action, one route: nothing may be done that is not in this table."""

from __future__ import annotations

import ast
import json

import pytest

from api.app import routed
from tests.support.sources import python_sources
from vault.access.roles import PERMITTED
from vault.domain.actions import GRANTABLE, Action

OPERATOR_ONLY = {
    Action.VAULT_INIT: "done on the host, before anybody has an account",
    Action.BACKUP_CREATE: "done on the host, where the database and what opens its keys are",
    Action.VAULT_RESTORE: "done on the host, where nothing is served yet",
    Action.INTEGRITY_ALARM: "said by the vault itself",
    Action.CERTIFICATE_ISSUE: "said by the vault itself, once the tombstone is outside the database",
    Action.DRILL_RECOVERY: "done on the host, on the day that nothing else opens",
    Action.KEY_RETIRE: "done on the host, where what sealed an older root key can be reached",
    Action.KEY_ROOT: "done on the host, where what seals the root key can be reached",
}
"""Actions without a route."""

SHOWN_NOT_PERMITTED = {
    Action.SESSION_OPEN: "whoever shows password and code",
    Action.SERVICE_AUTHENTICATE: "whoever shows a client secret",
    Action.STAFF_ENROL: "whoever shows an invitation",
    Action.STAFF_PASSWORD: "whoever shows password and code",
    Action.VAULT_UNSEAL: "whoever brings the passphrase, or shares enough",
}
"""Actions that no role or grant permits: whoever asks proves it by what they bring."""


def _routes() -> dict[str, list[str]]:
    """Return the routes of each action, as the document of the application has them."""
    document = json.loads(routed().state.document)
    routes: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            action = operation.get("x-piivault-action", "")
            routes.setdefault(action, []).append(f"{method.upper()} {path}")
    return routes


def _used_in(folder: str) -> set[str]:
    """Return the names of the actions that the code of ``folder`` speaks of."""
    return {
        node.attr
        for source in python_sources(folder)
        if not source.name.endswith(("domain/actions.py", "access/roles.py", "access/decision.py"))
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Action"
    }


ROUTES = _routes()
LOGGED = _used_in("vault")


@pytest.mark.parametrize("action", Action)
def test_action_is_permitted_in_one_way(action: Action) -> None:
    ways = [
        action in PERMITTED,
        action in GRANTABLE,
        action in SHOWN_NOT_PERMITTED,
        action in OPERATOR_ONLY,
    ]
    assert sum(ways) == 1


@pytest.mark.parametrize("action", Action)
def test_action_is_logged_by_what_does_it(action: Action) -> None:
    assert action.name in LOGGED


@pytest.mark.parametrize("action", Action)
def test_action_has_a_route_or_is_for_operators_only(action: Action) -> None:
    assert (action.value in ROUTES) is (action not in OPERATOR_ONLY)


@pytest.mark.parametrize("action", Action)
def test_action_is_a_noun_and_a_verb(action: Action) -> None:
    noun, _, verb = action.value.partition(":")
    assert action.name == f"{noun}_{verb}".upper()


def test_routes_without_an_action_reveal_nothing_of_anybody() -> None:
    assert sorted(ROUTES[""]) == [
        "DELETE /v1/unseal",
        "GET /healthz",
        "GET /metrics",
        "GET /readyz",
        "GET /v1/audit/key",
        "GET /v1/unseal",
    ]
