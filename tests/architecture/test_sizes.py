"""Modules, classes and functions stay small enough to be read, and their names say something."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.sources import PRODUCT, Source, python_sources

MODULE_LINES = 400
TEST_MODULE_LINES = 600
CLASS_LINES = 250
FUNCTION_LINES = 50
POSITIONAL_PARAMETERS = 4

BANNED_WORDS = frozenset({"common", "helper", "helpers", "manager", "managers", "process", "util", "utils"})
NAMED_BY_A_LIBRARY = frozenset({"process_bind_param", "process_result_value"})

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SOURCES = python_sources()
PRODUCT_SOURCES = python_sources(*PRODUCT)


def _lines(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def _banned(name: str) -> bool:
    if name in NAMED_BY_A_LIBRARY or name.startswith("test_"):
        return False  # The name of a test is a sentence, where "process" is what ends with a signal.
    return bool(_words(name) & BANNED_WORDS) or name.lstrip("_").startswith("do_")


def _positional(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def _module_limit(source: Source) -> int:
    return TEST_MODULE_LINES if source.name.startswith("tests/") else MODULE_LINES


def test_modules_stay_within_their_limit() -> None:
    lengths = {source.name: len(source.text.splitlines()) for source in SOURCES}
    assert [f"{s.name}: {lengths[s.name]} lines" for s in SOURCES if lengths[s.name] > _module_limit(s)] == []


@pytest.mark.parametrize(
    ("kinds", "limit"),
    [((ast.ClassDef,), CLASS_LINES), (FUNCTIONS, FUNCTION_LINES)],
    ids=["classes", "functions"],
)
def test_definitions_stay_within_their_limit(kinds: tuple[type[ast.stmt], ...], limit: int) -> None:
    too_long = [
        f"{source.name}:{node.lineno}: {_lines(node)} lines"
        for source in SOURCES
        for node in ast.walk(source.tree)
        if isinstance(node, kinds) and _lines(node) > limit
    ]
    assert too_long == []


def test_names_avoid_words_that_say_nothing() -> None:
    named = (ast.ClassDef, *FUNCTIONS)
    defined = [
        (f"{source.name}:{node.lineno}", node.name)
        for source in SOURCES
        for node in ast.walk(source.tree)
        if isinstance(node, named)
    ]
    modules = [
        (source.name, part) for source in SOURCES for part in source.name.removesuffix(".py").split("/")
    ]
    assert [f"{place}: {name}" for place, name in defined + modules if _banned(name)] == []


def test_long_parameter_lists_are_given_by_keyword() -> None:
    too_many = [
        f"{source.name}:{node.lineno}: {node.name}"
        for source in PRODUCT_SOURCES
        for node in ast.walk(source.tree)
        if isinstance(node, FUNCTIONS) and len(_positional(node)) > POSITIONAL_PARAMETERS
    ]
    assert too_many == []


@pytest.mark.parametrize(
    "name", ["KeyManager", "do_rotate", "_do_it", "sql_utils", "process_batch", "HTTPHelper"]
)
def test_knows_a_banned_name(name: str) -> None:
    assert _banned(name)


@pytest.mark.parametrize(
    "name", ["Processor", "dormant", "commonwealth", "process_bind_param", "subprocess_text"]
)
def test_leaves_other_names_alone(name: str) -> None:
    assert not _banned(name)
