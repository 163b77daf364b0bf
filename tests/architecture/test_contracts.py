"""The import contracts hold, and each of them breaks where its rule is broken.

A contract that cannot fail protects nothing, so every one is shown a violation planted in a copy of the tree.
"""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.sources import PRODUCT, ROOT

CONTRACTS = ".importlinter"
SECTION = "importlinter:contract:"


@dataclass(frozen=True, slots=True)
class Plant:
    """A breach: ``code`` in a new module ``path`` must break ``contract``."""

    contract: str
    path: str
    code: str


PLANTS = [
    Plant("stack", "keys/planted.py", "import vault.domain.ids"),
    Plant("stack", "vault/service/planted.py", "import api"),
    Plant("stack", "api/planted.py", "import cli"),
    Plant("vault-layers", "vault/domain/planted.py", "import vault.storage"),
    Plant("vault-layers", "vault/audit/planted.py", "import vault.access"),
    Plant("vault-layers", "vault/tokens/planted.py", "import vault.rotation"),
    Plant("vault-layers", "vault/planted/__init__.py", ""),
    Plant("keys-layers", "keys/wrappers/planted.py", "import keys.keyring"),
    Plant("keys-layers", "keys/planted.py", ""),
    Plant("api-layers", "api/v1/planted.py", "import api.app"),
    Plant("cli-layers", "cli/local/planted.py", "import cli.main"),
    Plant("cli-layers", "cli/local/planted.py", "import cli.serve"),
    Plant("libraries-of-keys", "vault/access/planted.py", "from argon2 import PasswordHasher"),
    Plant("libraries-of-keys", "vault/storage/planted.py", "import pyotp"),
    Plant("libraries-of-keys", "vault/backup/planted.py", "import pyrage"),
    Plant("libraries-of-keys", "api/planted.py", "from cryptography.hazmat.primitives import hashes"),
    Plant("keys-stand-alone", "keys/planted.py", "import sqlite3"),
    Plant("keys-stand-alone", "keys/planted.py", "from fastapi import FastAPI"),
    Plant("libraries-of-storage", "vault/tokens/planted.py", "from sqlalchemy import text"),
    Plant("libraries-of-storage", "vault/service/planted.py", "import sqlite3"),
    Plant("libraries-of-storage", "cli/planted.py", "import psycopg"),
    Plant("verifier-stands-alone", "vault/audit/verify/planted.py", "import vault.storage"),
    Plant("verifier-stands-alone", "vault/audit/verify/planted.py", "import vault.access"),
    Plant("api-sees-the-facade", "api/planted.py", "import vault.storage"),
    Plant("api-sees-the-facade", "api/planted.py", "from vault import assembly"),
    Plant("api-sees-the-facade", "api/planted.py", "import keys"),
    Plant("cli-sees-the-facade", "cli/planted.py", "import vault.access"),
    Plant("cli-sees-the-facade", "cli/planted.py", "from vault import assembly"),
    Plant("only-serve-imports-api", "cli/planted.py", "import api"),
    Plant("only-serve-imports-api", "cli/local/planted.py", "import api.v1"),
]


def _contracts() -> dict[str, str]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / CONTRACTS)
    sections = [name for name in parser.sections() if name.startswith(SECTION)]
    return {name.removeprefix(SECTION): parser[name]["name"] for name in sections}


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-logo", "--no-cache"],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        env={"COLUMNS": "200", "PATH": ""},
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the contracts are about."""
    for package in PRODUCT:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / CONTRACTS, tmp_path)
    return tmp_path


def test_contracts_hold(copy: Path) -> None:
    linted = _lint(copy)
    assert linted.returncode == 0, linted.stdout


def test_every_contract_is_shown_a_violation() -> None:
    assert {plant.contract for plant in PLANTS} == set(_contracts())


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: f"{plant.contract}: {plant.path}: {plant.code}")
def test_contract_breaks_on_a_violation(plant: Plant, copy: Path) -> None:
    path = copy / plant.path
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'"""Planted."""\n{plant.code}\n', encoding="utf-8")
    linted = _lint(copy)
    assert linted.returncode == 1
    assert f"{_contracts()[plant.contract]} BROKEN" in linted.stdout


def test_verifier_loads_without_storage_and_access() -> None:
    code = (
        "import sys; before = set(sys.modules); import vault.audit.verify; print(*set(sys.modules) - before)"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    loaded = set(told.stdout.split())
    assert loaded.isdisjoint({"sqlalchemy", "psycopg", "sqlite3", "vault.storage", "vault.access"})
