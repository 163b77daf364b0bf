"""Render the OpenAPI document of the server into docs/reference/http.md.

    python docs/generate.py

The document is the one that ``GET /openapi.json`` answers with, so this page
says what the code says; a test renders it again and compares.
"""  # noqa: INP001 - the documentation is no package

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from api.app import build_app
from api.edge import Edge
from vault.access.staff import Person
from vault.assembly import initialise, open_vault
from vault.domain.model import Role
from vault.policy.policy import Policy

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "reference" / "http.md"

PROBLEM: Final = "application/problem+json"

Members = Mapping[str, Any]

HEAD: Final = """\
# HTTP interface

<!-- Rendered from /openapi.json by docs/generate.py: change the code, then render again. -->

The server describes itself at `GET /openapi.json`; this page is that description, rendered. Which role or
grant an act takes is in [actions.md](actions.md), what an error code means in [errors.md](errors.md).

## In common

- **Who.** `Authorization: Bearer …` with the access token of a service (`pva_…`, ten minutes) or the
  session of a person (`pvn_…`, ten idle minutes, eight hours). Routes that need none say so.
- **Where in the log.** Answers carry `log_index`, the position of the request's entry, and `leaf_hash`, its
  hash; keep them as a receipt.
- **Request id.** `X-Request-Id` of the form `req_` and 32 hexadecimal digits is kept, else a new one is
  made. It is in the answer, in problem documents and in the log.
- **Idempotency.** `Idempotency-Key` (1 to 255 printable ASCII characters) on `POST /v1/tokenize`, kept for
  24 hours per actor. Other routes refuse the header.
- **Limits.** 1 MiB and 1,000 items on tokenize and detokenize; 64 KiB elsewhere. What is over a limit is
  refused, never cut short.
- **Errors.** `application/problem+json`. A batch in which some item failed is answered 207, and each item
  has its own outcome, in the order of the request.
- `Cache-Control: no-store` everywhere. Personal data travels in bodies only, never in addresses.
"""


def render(document: Members) -> str:
    """Return the page for an OpenAPI document."""
    lines = [HEAD]
    lines += ["## Problems", "", *_meanings(document), ""]
    lines += ["## Routes", "", "| Route | What |", "| --- | --- |"]
    lines += [
        f"| [`{title}`](#{_anchor(title)}) | {operation['summary']} |"
        for title, operation in _operations(document)
    ]
    for title, operation in _operations(document):
        lines += ["", f"### {title}", "", *_operation(operation)]
    lines += ["", "## Shapes", ""]
    for name, schema in document["components"]["schemas"].items():
        lines += [f"### {name}", "", *_shape(schema), ""]
    return "\n".join(lines).rstrip() + "\n"


def _operations(document: Members) -> Iterator[tuple[str, Members]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def _anchor(title: str) -> str:
    kept = (letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return "".join(kept).replace(" ", "-")


def _operation(operation: Members) -> Iterator[str]:
    yield f"{operation['summary']}. {_told(operation)}".rstrip()
    yield ""
    action = operation.get("x-piivault-action")
    yield f"- Action: `{action}`" if action else "- Leaves no entry in the log."
    yield f"- Needs: {_needs(operation.get('security', ()))}"
    yield f"- Problems: {', '.join(_problems(operation))}"
    yield from _parameters(operation.get("parameters", ()))
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield ""
        yield f"Body, `{media_type}`: {_type(content['schema'])}"
        if "$ref" not in content["schema"]:
            yield ""
            yield from _members(content["schema"])
        yield from _example(content)
    yield ""
    yield "| Status | Meaning | Answer |"
    yield "| --: | --- | --- |"
    for status, answer in operation["responses"].items():
        if not _is_problem(answer):
            yield f"| {status} | {answer['description']} | {_answer(answer)} |"
    for answer in operation["responses"].values():
        for content in answer.get("content", {}).values():
            if not _is_problem(answer) and "example" in content:
                yield from _inline(content["schema"])
                yield from _example(content)
                return


def _is_problem(answer: Members) -> bool:
    return PROBLEM in answer.get("content", {})


def _problems(operation: Members) -> Iterator[str]:
    return (status for status, answer in operation["responses"].items() if _is_problem(answer))


def _meanings(document: Members) -> Iterator[str]:
    """Show what each status of a problem means, once for all routes."""
    found: dict[str, str] = {}
    for _, operation in _operations(document):
        for status in _problems(operation):
            found.setdefault(status, operation["responses"][status]["description"])
    yield "| Status | Meaning |"
    yield "| --: | --- |"
    for status in sorted(found):
        yield f"| {status} | {found[status]} |"


def _needs(security: Sequence[Members]) -> str:
    known = {
        "service": "the access token of a service",
        "staff": "the session of a person",
        "client": "client id and secret (HTTP Basic)",
    }
    names = [known.get(name, name) for way in security for name in way]
    needed = " or ".join(names) or "nothing"
    return f"nothing on the host itself, elsewhere {needed}" if {} in security else needed


def _parameters(parameters: Sequence[Members]) -> Iterator[str]:
    if not parameters:
        return
    yield ""
    yield "| Parameter | In | Type | Needed | |"
    yield "| --- | --- | --- | --- | --- |"
    for one in parameters:
        needed = "yes" if one.get("required") else "no"
        told = _told(one)
        yield f"| `{one['name']}` | {one['in']} | {_type(one['schema'])} | {needed} | {told} |"


def _answer(answer: Members) -> str:
    schemas = [content.get("schema") for content in answer.get("content", {}).values()]
    return ", ".join(_type(schema) for schema in schemas if schema)


def _inline(schema: Members) -> Iterator[str]:
    """Show an answer that has no name of its own: the members of one item."""
    item = schema.get("properties", {}).get("items", {}).get("items", {})
    if item.get("properties"):
        yield ""
        yield "Members of an item of the answer, as they apply:"
        yield ""
        yield from _members(item)


def _shape(schema: Members) -> Iterator[str]:
    told = _told(schema)
    if told:
        yield told
    if schema.get("properties"):
        if told:
            yield ""
        yield from _members(schema)
    elif "enum" in schema:
        yield ""
        yield "One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + "."


def _members(schema: Members) -> Iterator[str]:
    required = set(schema.get("required", ()))
    yield "| Member | Type | Needed | |"
    yield "| --- | --- | --- | --- |"
    for name, member in schema["properties"].items():
        needed = "yes" if name in required else "no"
        told = _told(member)
        yield f"| `{name}` | {_type(member)} | {needed} | {told} |"


def _type(schema: Members) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        members = schema.get("prefixItems")
        inner = " and ".join(map(_type, members)) if members else _type(schema.get("items") or {})
        return f"array of {inner}"
    return kind + _bounds(schema)


def _bounds(schema: Members) -> str:
    bounds = []
    for low, high in (("minLength", "maxLength"), ("minimum", "maximum")):
        if low in schema or high in schema:
            bounds.append(f"{schema.get(low, '')}…{schema.get(high, '')}")
    return f" ({', '.join(bounds)})" if bounds else ""


def _told(described: Members) -> str:
    return " ".join(str(described.get("description", "")).split()).replace("``", "`")


def _example(content: Members) -> Iterator[str]:
    if "example" in content:
        yield ""
        yield "```json"
        yield json.dumps(content["example"], indent=2, ensure_ascii=False)
        yield "```"


def document_of_the_server() -> dict[str, Any]:
    """Return what ``GET /openapi.json`` answers with, asked of a vault that exists only for that."""
    with TemporaryDirectory() as folder:
        policy = Policy.parse((ROOT / "examples" / "policy.toml").read_text(encoding="utf-8"))
        administrator = Person(login="administrator", name="A", role=Role.ADMINISTRATOR)
        officer = Person(login="officer", name="O", role=Role.OFFICER)
        home = Path(folder) / "vault"
        made = initialise(home, policy=policy, administrator=administrator, officer=officer)
        vault = open_vault(made.settings)
        try:
            body = asyncio.run(_ask(build_app(vault), "/openapi.json"))
        finally:
            vault.close()
    found: dict[str, Any] = json.loads(body)
    return found


async def _ask(app: Edge, path: str) -> bytes:
    """Return the body of the answer to a GET."""
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    parts: list[bytes] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"".join(parts)


if __name__ == "__main__":
    PAGE.write_text(render(document_of_the_server()), encoding="utf-8")
