"""The documentation says what the code says: links, names, commands, codes and sections exist."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from api.errors import STATUS
from cli.errors import exit_code, known_errors
from cli.main import build
from keys.keyring import KeyKind
from tests.support.sources import ROOT, python_sources
from vault.access.roles import PERMITTED
from vault.domain.actions import GRANTABLE, Action
from vault.domain.model import ActorKind, Role
from vault.settings import FILE, Settings
from vault.storage.tables import metadata

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])

LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")

OUTAGES = frozenset({"holder", "overtaken", "rolled_back", "schema", "stale_revision"})
"""Errors of storage, and of the holder of the root key, which api answers as unavailable."""

NOUNS = (
    *("subject", "token", "actor", "action", "grant", "purpose", "entry", "checkpoint", "receipt"),
    *("envelope", "epoch", "key", "credential", "session", "code", "origin", "outcome", "reveal"),
    *("role", "policy", "field", "mask", "revision", "standing", "authority", "unit", "lane"),
    *("writer", "journal", "alarm", "stranger", "operator", "owner", "invitation", "approval", "item"),
    *("work", "keyring", "index", "export", "generation", "partition"),
)
"""What the domain speaks of in public."""


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    """Return what the headings of a page are linked by."""
    plain = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading) for heading in HEADING.findall(_prose(page)))
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in plain)
    return {heading.replace(" ", "-") for heading in kept}


def _rows(page: Path, header: str) -> Iterator[list[str]]:
    """Yield the cells of every table row under a header line that begins with ``header``."""
    inside = False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith(header):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("| --"):
            yield [cell.strip() for cell in line.strip().strip("|").split(" | ")]


@cache
def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def _openapi() -> dict[str, Any]:
    document: dict[str, Any] = _generator().document_of_the_server()
    return document


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(_prose(page)):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_to_the_project_stay_inside_it(page: Path) -> None:
    relative = [link.partition("#")[0] for link in LINK.findall(_prose(page)) if "://" not in link]
    assert [link for link in relative if not (page.parent / link).resolve().is_relative_to(ROOT)] == []


# What can be done


ACTIONS = DOCS / "reference" / "actions.md"


def _action_rows() -> dict[str, list[str]]:
    return {cells[0].strip("`"): cells for cells in _rows(ACTIONS, "| Action ")}


def test_every_action_has_its_row() -> None:
    assert list(_action_rows()) == [action.value for action in Action]


@pytest.mark.parametrize("action", Action)
def test_action_row_says_who_may(action: Action) -> None:
    told = _action_rows()[action.value][2]
    if action in GRANTABLE:
        assert told == "by grant"
    elif action in PERMITTED:
        assert told == ", ".join(sorted(PERMITTED[action]))
    else:
        assert told != "by grant"
        assert not any(role.value in told for role in Role)


def test_action_rows_name_exactly_the_routes_there_are() -> None:
    routes: dict[str, set[str]] = {action.value: set() for action in Action}
    for path, methods in _openapi()["paths"].items():
        for method, operation in methods.items():
            action = operation.get("x-piivault-action")
            if action is not None:
                routes[action].add(f"{method.upper()} {path}")
    assert {action: set(SPAN.findall(cells[3])) for action, cells in _action_rows().items()} == routes


def test_routes_without_an_action_are_told_too() -> None:
    text = ACTIONS.read_text(encoding="utf-8")
    silent = [
        f"{method.upper()} {path}"
        for path, methods in _openapi()["paths"].items()
        for method, operation in methods.items()
        if "x-piivault-action" not in operation
    ]
    assert [route for route in silent if f"`{route}`" not in text] == []


def test_rules_of_the_decision_are_those_of_the_code() -> None:
    told = {rule for cells in _rows(ACTIONS, "| Rule ") for rule in SPAN.findall(cells[0])}
    text = (ROOT / "vault" / "access" / "decision.py").read_text(encoding="utf-8")
    yielded = set(re.findall(r'yield "(\w+)"', text)) | set(re.findall(r'\("(grant_\w+)", _', text))
    assert told == yielded


# Commands


@cache
def _command() -> Any:
    return typer.main.get_command(build())


def _leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from _leaves(inner, (*path, name))
    if path and not hasattr(command, "commands"):
        yield " ".join(path)


def _find(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that ``words`` name and what is left of them; None when there is none."""
    command = _command()
    for position, word in enumerate(words):
        inner = getattr(command, "commands", None)
        if inner is None:
            return command, words[position:]
        if word not in inner:
            return (command, words[position:]) if word.startswith("-") else (None, words[position:])
        command = inner[word]
    return command, []


def _wrong_with_typed(line: str) -> str:
    """Return what is wrong with a whole command line; nothing when it could be typed as it stands."""
    command, rest = _find(shlex.split(line)[1:])
    if command is None or hasattr(command, "commands"):
        return f"{line}: no such command"
    try:
        command.make_context(line, list(rest))
    except typer.TyperException as error:
        return f"{line}: {error.format_message()}"
    except typer.Exit:
        return ""
    return ""


def _wrong_with(line: str) -> str:
    """Return what is wrong with a command that is named; nothing when it and its options exist."""
    words = shlex.split(line)[1:]
    command, rest = _find(words)
    if command is None:
        return f"{line}: no such command"
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    options = [word.partition("=")[0] for word in rest if re.fullmatch(r"--[a-z][a-z-]*(=.*)?", word)]
    unknown = [option for option in options if option not in known]
    return f"{line}: no option {unknown}" if unknown else ""


def _typed(page: Path) -> Iterator[str]:
    """Yield the piivault commands in the console blocks of a page."""
    for block in CONSOLE.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                # With a number before it, what follows a command goes to a descriptor of that number.
                yield from re.findall(r"(?:^|[|&;] *)(piivault[^|&;<>#]*?)(?: \d?)?(?=[|&;<>#]|$)", line[2:])


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_in_console_blocks_can_be_typed(page: Path) -> None:
    assert [wrong for line in _typed(page) if (wrong := _wrong_with_typed(line))] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_named_in_the_text_exist(page: Path) -> None:
    named = [span for span in SPAN.findall(_prose(page)) if re.match(r"piivault [a-z]", span)]
    plain = [re.split(r" [A-Z(…]", span)[0] for span in named]
    assert [wrong for line in plain if (wrong := _wrong_with(line))] == []


STANDS_FOR = {
    "APPROVAL_ID": "apr_0123456789abcdef0123",
    "DATE": "2026-12-01",
    "EPOCH": "1",
    "FOLDER": "/mnt/backup/2026-12-01",
    "HOME": "/srv/piivault",
    "KIND": "authority",
    "RECIPIENT": "age1",
    "SCOPE": "member.phone",
    "SERVICE_ID": "svc_0123456789abcdef0123",
    "STAFF_ID": "stf_0123456789abcdef0123",
    "VERSION": "1",
}
"""What somebody types for the words of a fault table."""


def _told_to_type(page: Path) -> Iterator[str]:
    """Yield the commands that the fault tables of a page say to type, whether they begin with ours or not."""
    first, inside = "|".join(_command().commands), False
    for line in page.read_text(encoding="utf-8").splitlines():
        inside = line.endswith(" What to do |") or (line.startswith("|") and inside)
        if inside:
            cells = line.strip().strip("|").split(" | ")
            yield from (span for span in SPAN.findall(cells[-1]) if re.match(rf"piivault |({first}) ", span))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_what_a_fault_table_says_to_type_can_be_typed(page: Path) -> None:
    told = [re.sub(r"\b[A-Z_]{4,}\b", lambda word: STANDS_FOR[word[0]], span) for span in _told_to_type(page)]
    short = [line for line in told if not line.startswith("piivault ")]
    assert short == []
    assert [wrong for line in told if (wrong := _wrong_with_typed(line))] == []


def test_every_kind_of_key_goes_when_every_key_leaked() -> None:
    page = (DOCS / "operations" / "keys.md").read_text(encoding="utf-8")
    section = page.partition("## Every key leaked\n")[2].partition("\n## ")[0]
    steps = [line for line in SPAN.findall(section) if line.startswith("piivault keys ")]
    replaced = {kind for kind in KeyKind for step in steps if f"--kind {kind.value}" in step}
    assert "piivault keys compromise EPOCH --all --reason …" in steps
    assert "piivault keys root rotate" in steps
    assert replaced == set(KeyKind) - {KeyKind.WRAPPING, KeyKind.TOKEN}


def test_fault_tables_are_looked_at() -> None:
    assert len(list(_told_to_type(DOCS / "operations" / "keys.md"))) > 30


def test_every_command_stands_in_the_table_of_actions() -> None:
    told = set(re.findall(r"`piivault ([a-z -]+)`", ACTIONS.read_text(encoding="utf-8")))
    assert told == set(_leaves(_command()))


# Errors


ERRORS = DOCS / "reference" / "errors.md"


def _error_rows() -> dict[str, list[str]]:
    text = ERRORS.read_text(encoding="utf-8")
    assert text.count("| Code | HTTP |") == 3
    rows: dict[str, list[str]] = {}
    for cells in _rows(ERRORS, "| Code | HTTP |"):
        rows.setdefault(f"{cells[0].strip('`')} {cells[1]}", cells)
    return rows


def test_every_error_of_the_vault_is_told_with_status_and_exit_code() -> None:
    rows = _error_rows()
    wrong = []
    for kind in known_errors():
        status = 503 if kind.code in OUTAGES else STATUS[kind][0]
        cells = rows.get(f"{kind.code} {status}")
        if cells is None or cells[2] != str(exit_code(kind)):
            wrong.append((kind.code, status, exit_code(kind)))
    assert wrong == []


def test_every_error_of_http_is_told() -> None:
    tree = ast.parse((ROOT / "api" / "errors.py").read_text(encoding="utf-8"))
    found = {
        f"{code} {status}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem"
        for status, code in [_constants(node)]
    }
    assert found <= set(_error_rows())


def _constants(call: ast.Call) -> tuple[object, object]:
    first, second = call.args[:2] if len(call.args) > 1 else (ast.Constant(500), ast.Constant("internal"))
    if isinstance(first, ast.Constant) and isinstance(second, ast.Constant):
        return first.value, second.value
    return 500, "internal"


def test_no_error_is_told_that_does_not_exist() -> None:
    text = "".join(source.text for source in python_sources("api", "cli", "vault"))
    codes = {key.split()[0] for key in _error_rows()}
    assert [code for code in codes if f'"{code}"' not in text] == []


# Words


GLOSSARY = DOCS / "glossary.md"


def _terms() -> set[str]:
    return {term for cells in _rows(GLOSSARY, "| Term ") for term in cells[0].split(", ")}


def test_glossary_has_the_noun_of_every_action() -> None:
    assert {action.value.partition(":")[0] for action in Action} <= _terms()


def test_glossary_has_every_noun_of_the_domain() -> None:
    known = {role.value for role in Role} | {kind.value for kind in ActorKind} | set(NOUNS)
    assert known <= _terms()


def test_glossary_is_in_order_and_tells_each_term_once() -> None:
    first = [cells[0].split(", ")[0].casefold() for cells in _rows(GLOSSARY, "| Term ")]
    assert len(first) == len(set(first))


def test_places_of_the_glossary_exist() -> None:
    places = [place for cells in _rows(GLOSSARY, "| Term ") for place in SPAN.findall(cells[2])]
    assert places
    missing = []
    for place in places:
        module, _, attribute = place.rpartition(".")
        if not hasattr(importlib.import_module(module), attribute):
            missing.append(place)
    assert missing == []


# What the pages say of the code


def test_request_flow_names_what_is_there() -> None:
    page = DOCS / "request-flow.md"
    places = {
        name: [(page.parent / link).resolve() for link in LINK.findall(cells[1])]
        for cells in _rows(page, "| Name ")
        for name in SPAN.findall(cells[0])
    }
    assert places
    texts = {
        name: "".join(path.read_text(encoding="utf-8") for path in paths) for name, paths in places.items()
    }
    defined = r"(?:class|def) {}\b"
    assert [name for name in texts if not re.search(defined.format(name), texts[name])] == []
    methods = re.findall(r"`(\w+)\.(\w+)`", _prose(page))
    missing = [
        f"{name}.{method}"
        for name, method in methods
        if name in texts and not re.search(defined.format(method), texts[name])
    ]
    assert missing == []


def test_architecture_tells_every_table() -> None:
    cells = " ".join(row[0] for row in _rows(DOCS / "architecture.md", "| Table "))
    assert set(SPAN.findall(cells)) == set(metadata.tables)


def test_metrics_in_the_operations_page_exist() -> None:
    text = (ROOT / "api" / "metrics.py").read_text(encoding="utf-8")
    told = re.findall(r"`(piivault_\w+)`", (DOCS / "operations.md").read_text(encoding="utf-8"))
    assert told
    assert [name for name in told if name not in text] == []


def test_settings_in_the_operations_page_are_accepted(tmp_path: Path) -> None:
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        (tmp_path / FILE).write_text(block, encoding="utf-8")
        Settings.load(tmp_path)


def test_every_decision_is_listed_and_tells_what_it_costs() -> None:
    folder = DOCS / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    records = sorted(folder.glob("[0-9]*.md"))
    assert records
    assert [path.name for path in records if f"({path.name})" not in index] == []
    assert [path.name for path in records if "\n## Bad\n" not in path.read_text(encoding="utf-8")] == []


# Formats


CITED = re.compile(
    r"(envelope|token|log-entry|export)\.md(?:``)?,? (?:sections? )?((?:\d[\d.]*(?:, | and | to )?)+)"
)


def _sections(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    return set(re.findall(r"^(?:## )?(\d+(?:\.\d+)?)\. ", text, re.MULTILINE))


def test_sections_of_formats_that_are_cited_exist() -> None:
    missing = []
    cited = 0
    pages = [(_name(page), page.read_text(encoding="utf-8")) for page in PAGES]
    sources = [(source.name, source.text) for source in python_sources()]
    for name, raw in [*sources, *pages]:
        text = re.sub(r"\s+(?:# )?", " ", raw)
        for page, numbers in CITED.findall(text):
            for number in re.findall(r"\d+(?:\.\d+)?", numbers):
                cited += 1
                if number not in _sections(DOCS / "formats" / f"{page}.md"):
                    missing.append(f"{name}: {page}.md {number}")
    assert cited
    assert missing == []


# The rendered reference


def test_reference_of_the_http_interface_is_rendered_from_the_code() -> None:
    rendered = _generator().render(_openapi())
    assert (DOCS / "reference" / "http.md").read_text(encoding="utf-8") == rendered
