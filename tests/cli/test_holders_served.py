"""A vault whose root key a server or a token holds: made, served, given to another holder, served again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.demo.cast import Cast
from tests.cli.conftest import Command
from tests.cli.test_sealing import serving
from tests.support.furnished import POLICY
from tests.support.kms import REGION, kms_server
from tests.support.openbao import OpenBaoServer
from tests.support.softhsm import SoftToken, make_key
from vault.domain.model import Reveal

PEOPLE = ("--administrator", "mina:김민아", "--officer", "junseo:박준서")
NUMBERS = "010-1234-5678\n02-345-6789\n"
INQUIRY = ("--purpose", "inquiry", "--reason", "ticket 4711")


@dataclass(frozen=True)
class Holder:
    """What holds a root key, and how its table in the settings reads."""

    kind: str
    table: str
    told: str


def private(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(f"{text}\n", encoding="utf-8")
    return path


@pytest.fixture
def bao(tmp_path: Path, openbao: OpenBaoServer) -> Holder:
    """A transit key, and a wrapped token that opens the way to it once."""
    key = openbao.make_key()
    wrapped = private(tmp_path / "wrapped", openbao.make_token(key, wrap_ttl="120s"))
    files = f'token_file = "{tmp_path / "token"}"\nwrapped_token_file = "{wrapped}"\n'
    table = f'[openbao]\naddress = "{openbao.address}"\nkey = "{key}"\n{files}'
    return Holder("openbao", table, f"OpenBao transit {openbao.address} transit/keys/{key}")


@pytest.fixture
def hsm(tmp_path: Path, soft_token: SoftToken) -> Holder:
    make_key(soft_token)
    pin = private(tmp_path / "pin", soft_token.pin.expose())
    place = f'module = "{soft_token.module}"\ntoken = "{soft_token.label}"\n'
    table = f'[pkcs11]\n{place}key = "root"\npin_file = "{pin}"\n'
    return Holder("pkcs11", table, f"PKCS#11 token {soft_token.label}, key root")


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Holder]:
    from boto3.session import Session

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with kms_server() as endpoint:
        client = Session(region_name=REGION).client("kms", endpoint_url=endpoint)
        arn = client.create_key()["KeyMetadata"]["Arn"]
        table = f'[aws_kms]\nkey = "{arn}"\nregion = "{REGION}"\nendpoint = "{endpoint}"\n'
        yield Holder("aws_kms", table, f"AWS KMS {arn} in {REGION}")


def shop(url: str, told: dict[str, dict[str, str]], folder: Path) -> list[str]:
    """Let people in, and a service that may see telephone numbers; return the options of its commands."""
    cast = Cast(url)
    cast.enter(cast.administrator, told["administrator"]["invitation"])
    cast.enter(cast.officer, told["officer"]["invitation"])
    cast.create_services()
    account = cast.shop
    terms = (["token:tokenize", "token:detokenize"], ["member.phone"])
    holder = ("service", account["service_id"])
    cast.approve(cast.propose(holder, *terms, purpose="inquiry", reveal=Reveal.PLAIN))
    secret = private(folder / "secret", account["client_secret"])
    return ["--client-id", account["service_id"], "--client-secret-file", str(secret)]


def from_one_to_another(command: Command, folder: Path, first: Holder, second: Holder) -> None:
    """Make a vault under ``first`` and give its root key to ``second``: every value opens all along."""
    home, tables = folder / "home", folder / "holders.toml"
    tables.write_text(first.table + second.table, encoding="utf-8")
    sealing = ("--root-key", first.kind, "--root-key-settings", tables)
    made = command("init", "--home", home, "--policy", POLICY, *PEOPLE, *sealing, "--json")
    assert made.code == 0, made.err
    assert made.json["root_key"]["sealed_by"] == first.told
    with serving(home) as url:
        service = shop(url, made.json, folder)

        def detokenize(at: str) -> str:
            return command("detokenize", *INQUIRY, "--plain", *tokens, "--url", at, *service).out

        given = command(
            "tokenize", *INQUIRY, "--field", "member.phone", "--url", url, *service, stdin=NUMBERS
        )
        tokens = given.out.split()
        assert (len(tokens), detokenize(url)) == (2, NUMBERS), given.err
        changed = command("keys", "root", "rotate", "--home", home, "--root-key", second.kind, "--json")
        assert changed.code == 0, changed.err
        assert changed.json["root_key"]["sealed_by"] == second.told
        assert detokenize(url) == NUMBERS
    with serving(home) as url:
        assert detokenize(url) == NUMBERS
    assert second.told in command("status", "--home", home).out


def test_from_openbao_by_a_wrapped_token_to_aws_kms(
    command: Command, tmp_path: Path, bao: Holder, kms: Holder
) -> None:
    from_one_to_another(command, tmp_path, bao, kms)
    assert not (tmp_path / "wrapped").exists()


def test_from_a_pkcs11_token_to_openbao(command: Command, tmp_path: Path, hsm: Holder, bao: Holder) -> None:
    from_one_to_another(command, tmp_path, hsm, bao)


def test_from_aws_kms_to_a_pkcs11_token(command: Command, tmp_path: Path, kms: Holder, hsm: Holder) -> None:
    from_one_to_another(command, tmp_path, kms, hsm)
