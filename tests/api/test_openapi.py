"""The document says what the code does, with an example that the code takes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from api.app import VERSION
from api.bodies import Reader
from api.v1 import asked, told, told_subjects
from api.v1.examples import EXAMPLES
from api.v1.hot_examples import HOT_OPERATIONS
from tests.api.world import World

METHODS = {"get", "post", "delete", "put", "patch"}


@pytest.fixture(scope="module")
def document(world: World) -> dict[str, Any]:
    return world.ok(world.client.get("/openapi.json"))


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


def test_lists_every_route(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.")
    assert document["info"]["version"] == VERSION
    routes = {(method.upper(), path) for method, path, _ in _operations(document)}
    assert {("POST", "/v1/tokenize"), ("POST", "/v1/detokenize"), ("POST", "/v1/search")} <= routes
    assert {("DELETE", "/v1/tokens/{token}"), ("GET", "/v1/audit/export"), ("GET", "/metrics")} <= routes
    assert len(routes) == 54


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    for method, path, operation in _operations(document):
        assert method in METHODS
        assert operation["summary"], path
        assert "security" in operation, path
        for status, response in operation["responses"].items():
            assert response["description"], (path, status)
            if int(status) >= 400 and path != "/oauth2/token":
                assert "application/problem+json" in response["content"]
        if method == "post" and "requestBody" in operation:
            for content in operation["requestBody"]["content"].values():
                assert "example" in content or path == "/oauth2/token", path


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    schemas = document["components"]["schemas"]
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas
    for _, _, operation in _operations(document):
        for required in operation["security"]:
            assert required.keys() <= document["components"]["securitySchemes"].keys()


def test_examples_of_bodies_decode() -> None:
    for shape, example in EXAMPLES.items():
        if issubclass(shape, asked.Body):
            Reader(shape).read(json.dumps(example).encode())
    for operation in HOT_OPERATIONS.values():
        Reader(operation["body"], counted=True).read(json.dumps(operation["example"]).encode())


def test_every_shape_that_is_sent_has_an_example() -> None:
    parts = {"Answer", "Body", "StaffReference", "StaffView", "CredentialView", "ServiceView", "GrantView"}
    parts |= {"ApprovalView", "HangingView", "JobState", "KeyView"}
    parts |= {"LiveTokens", "LogKeyView"}
    shapes = (asked, told, told_subjects)
    modules = {module.__name__ for module in shapes}
    for name, kind in [found for module in shapes for found in vars(module).items()]:
        if isinstance(kind, type) and kind.__module__ in modules:
            assert issubclass(kind, msgspec.Struct)
            assert kind in EXAMPLES or name in parts, name


def test_document_names_no_value_as_a_parameter(document: dict[str, Any]) -> None:
    named = {
        parameter["name"]
        for _, _, operation in _operations(document)
        for parameter in operation.get("parameters", ())
    }
    assert named == {
        "Idempotency-Key",
        "action",
        "actor",
        "approval_id",
        "before",
        "certificate_id",
        "grant_id",
        "index",
        "limit",
        "outcome",
        "purpose",
        "request",
        "service_id",
        "staff_id",
        "start",
        "subject",
        "token",
    }
