"""A vault under each holder of the root key: made, opened again, refused when it is not the right one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from cli.local.unsealing import holder
from keys.secret import SecretBytes, SecretText
from keys.wrappers.keyfile import KeyFileWrapper
from keys.wrappers.openbao import unwrap_token
from tests.support.furnished import POLICY, START
from tests.support.openbao import OpenBaoServer
from tests.support.softhsm import SoftToken, make_key
from vault import settings as settings_module
from vault.assembly import (
    Ask,
    Initialised,
    New,
    Person,
    Policy,
    Sealing,
    Settings,
    by_reading,
    initialise,
    nobody,
    open_or_wait,
    open_vault,
    wrapping,
)
from vault.domain.errors import InvalidInputError, UnavailableError, VaultError
from vault.domain.model import Role
from vault.settings import FILE

pytestmark = pytest.mark.usefixtures("cheap_passphrases")

ADMINISTRATOR = Person(login="admin", name="Admin Park", role=Role.ADMINISTRATOR)
OFFICER = Person(login="officer", name="Officer Lee", role=Role.OFFICER)
PASSPHRASE = "correct horse 배터리 staple"
REGION = "ap-northeast-2"


def make(home: Path, sealing: Sealing) -> Initialised:
    return initialise(
        home,
        policy=Policy.parse(POLICY.read_text(encoding="utf-8")),
        administrator=ADMINISTRATOR,
        officer=OFFICER,
        sealing=sealing,
        now=START,
    )


def saying(*answers: str) -> Ask:
    """Return somebody who gives these answers, one after the other."""
    rest = list(answers)
    return lambda _what: SecretText(rest.pop(0))


def opens(settings: Settings, ask: Ask = nobody) -> str:
    """Open the vault, and return what holds its root key."""
    vault = open_vault(settings, ask=ask)
    try:
        return vault.status().root_key
    finally:
        vault.close()


def test_a_passphrase_opens_the_vault_and_another_does_not(tmp_path: Path) -> None:
    made = make(tmp_path, Sealing(root=New("passphrase"), ask=saying(PASSPHRASE)))
    assert not (tmp_path / "keys" / "root.key").exists()
    assert opens(made.settings, saying(PASSPHRASE)).startswith("passphrase, Argon2id")
    with pytest.raises(UnavailableError, match="does not open"):
        opens(made.settings, saying("correct horse 배터리 stable"))


def test_a_passphrase_is_asked_of_somebody_or_the_vault_stays_shut(tmp_path: Path) -> None:
    made = make(tmp_path, Sealing(root=New("passphrase"), ask=saying(PASSPHRASE)))
    with pytest.raises(UnavailableError, match="--unseal-fd"):
        opens(made.settings)


def test_a_short_passphrase_makes_no_vault(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(InvalidInputError) as refused:
        make(home, Sealing(root=New("passphrase"), ask=saying("short")))
    assert refused.value.rule == "passphrase_length"
    assert not (home / FILE).exists()


def test_enough_shares_open_the_vault_and_fewer_do_not(tmp_path: Path) -> None:
    made = make(tmp_path, Sealing(root=New("shamir", threshold=3, shares=5)))
    shares = [share.expose() for share in made.shares]
    assert len(shares) == 5
    assert len(made.recovery_shares) == 3
    assert opens(made.settings, saying(shares[4], shares[0], shares[2])).startswith("Shamir shares, 3 needed")
    with pytest.raises(UnavailableError, match="share_duplicate"):
        opens(made.settings, saying(shares[0], shares[0]))
    recovery = [share.expose() for share in made.recovery_shares]
    with pytest.raises(UnavailableError, match="does not open"):
        opens(made.settings, saying(recovery[0], recovery[1]))


def test_shares_come_from_a_file_descriptor_a_line_each(tmp_path: Path) -> None:
    made = make(tmp_path, Sealing(root=New("shamir")))
    lines = tmp_path / "shares.txt"
    lines.write_text("".join(f"{share.expose()}\n" for share in made.shares[:2]), encoding="utf-8")
    with lines.open("rb", buffering=0) as file:
        assert opens(made.settings, by_reading(file.fileno()))
    with lines.open("rb", buffering=0) as file:
        file.seek(0, 2)
        with pytest.raises(UnavailableError, match="empty"):
            opens(made.settings, by_reading(file.fileno()))


def _openbao(server: OpenBaoServer, home: Path, key: str) -> str:
    token = home.with_name(f"{home.name}-token")
    token.write_text(server.root_token + "\n", encoding="utf-8")
    token.chmod(0o600)
    return f'[openbao]\naddress = "{server.address}"\nkey = "{key}"\ntoken_file = "{token}"\n'


def test_a_transit_key_opens_the_vault_and_another_does_not(tmp_path: Path, openbao: OpenBaoServer) -> None:
    home = tmp_path / "home"
    tables = _openbao(openbao, home, openbao.make_key())
    made = make(home, Sealing(root=New("openbao"), tables=tables))
    assert opens(made.settings).startswith("OpenBao transit http://127.0.0.1")
    text, other = (home / FILE).read_text(encoding="utf-8"), _openbao(openbao, home, openbao.make_key())
    (home / FILE).write_text(text.replace(tables, other), encoding="utf-8")
    with pytest.raises(UnavailableError, match="does not open"):
        opens(Settings.load(home))


def test_a_vault_whose_server_is_away_says_what_to_do(tmp_path: Path, openbao: OpenBaoServer) -> None:
    home = tmp_path / "home"
    tables = _openbao(openbao, home, openbao.make_key())
    made = make(home, Sealing(root=New("openbao"), tables=tables))
    text = (home / FILE).read_text(encoding="utf-8")
    (home / FILE).write_text(text.replace(openbao.address, "http://127.0.0.1:9"), encoding="utf-8")
    with pytest.raises(UnavailableError, match=r"unreachable; .*start"):
        opens(Settings.load(home))
    (home / FILE).write_text(text.replace(tables, ""), encoding="utf-8")
    with pytest.raises(UnavailableError, match=r"settings; give its table \[openbao\]"):
        opens(Settings.load(home))
    assert opens(made.settings)


def test_a_wrapped_token_is_taken_at_init_and_kept_for_every_start(
    tmp_path: Path, openbao: OpenBaoServer
) -> None:
    home, wrapped = tmp_path / "home", tmp_path / "wrapped"
    key = openbao.make_key()
    tables = _openbao(openbao, home, key) + f'wrapped_token_file = "{wrapped}"\n'
    (tmp_path / "home-token").unlink()
    with pytest.raises(UnavailableError, match=rf"missing; write a new wrapped token to {wrapped}"):
        make(home, Sealing(root=New("openbao"), tables=tables))
    wrapped.touch(0o600)
    wrapped.write_text(openbao.make_token(key, wrap_ttl="60s"), encoding="utf-8")
    made = make(home, Sealing(root=New("openbao"), tables=tables))
    assert not wrapped.exists()
    assert opens(made.settings).startswith("OpenBao transit")
    wrapped.touch(0o600)
    wrapped.write_text(openbao.make_token(key, wrap_ttl="60s"), encoding="utf-8")
    unwrap_token(openbao.address, SecretText(wrapped.read_text(encoding="utf-8")))
    with pytest.raises(UnavailableError, match="wrapping_token_used") as refused:
        open_or_wait(made.settings)
    assert refused.value.reference == "wrapping_token_used"
    wrapped.unlink()
    assert opens(made.settings)


def test_refuses_to_keep_a_token_where_the_wrapped_one_lies(tmp_path: Path, openbao: OpenBaoServer) -> None:
    home = tmp_path / "home"
    tables = _openbao(openbao, home, "key") + f'wrapped_token_file = "{tmp_path / "home-token"}"\n'
    with pytest.raises(InvalidInputError) as refused:
        make(home, Sealing(root=New("openbao"), tables=tables))
    assert (refused.value.field, refused.value.rule) == ("openbao.wrapped_token_file", "same")


def test_a_key_inside_a_token_opens_the_vault(tmp_path: Path, soft_token: SoftToken) -> None:
    make_key(soft_token)
    home, pin = tmp_path / "home", tmp_path / "pin"
    pin.write_text(soft_token.pin.expose() + "\n", encoding="utf-8")
    pin.chmod(0o600)
    tables = (
        f'[pkcs11]\nmodule = "{soft_token.module}"\ntoken = "{soft_token.label}"\n'
        f'key = "root"\npin_file = "{pin}"\n'
    )
    made = make(home, Sealing(root=New("pkcs11"), tables=tables))
    assert opens(made.settings) == f"PKCS#11 token {soft_token.label}, key root"
    pin.chmod(0o644)
    with pytest.raises(UnavailableError, match="permissions"):
        opens(made.settings)


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from boto3.session import Session
    from moto import mock_aws

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with mock_aws():
        yield Session(region_name=REGION).client("kms")


def test_a_kms_key_opens_the_vault(tmp_path: Path, kms: Any) -> None:
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    tables = f'[aws_kms]\nkey = "{arn}"\nregion = "{REGION}"\n'
    made = make(tmp_path, Sealing(root=New("aws_kms"), tables=tables))
    assert opens(made.settings) == f"AWS KMS {arn} in {REGION}"


@pytest.mark.parametrize(
    ("sealing", "field", "rule"),
    [
        (Sealing(root=New("paper")), "kind", "choice"),
        (Sealing(recovery=New("openbao")), "recovery", "choice"),
        (Sealing(recovery=New("file")), "recovery", "required"),
        (Sealing(root=New("file", file=Path("/elsewhere"))), "root_key", "path"),
        (Sealing(tables="[database]\nurl = 'x'\n"), "database", "unknown_key"),
        (Sealing(tables="[openbao]\ncolour = 'x'\n"), "openbao.colour", "unknown_key"),
        (Sealing(tables="no table"), "root key settings", "toml"),
        (Sealing(root=New("openbao"), tables="[openbao]\nkey = 'x'\n"), "openbao.address", "required"),
    ],
)
def test_refuses_what_cannot_hold_the_root_key(
    tmp_path: Path, sealing: Sealing, field: str, rule: str
) -> None:
    home = tmp_path / "home"
    with pytest.raises(InvalidInputError) as refused:
        make(home, sealing)
    assert (refused.value.field, refused.value.rule) == (field, rule)
    assert not home.exists() or not any(path.is_file() for path in home.rglob("*"))


@pytest.mark.parametrize(("threshold", "shares"), [(1, 3), (4, 3), (2, 17)])
def test_refuses_shares_that_are_none(tmp_path: Path, threshold: int, shares: int) -> None:
    with pytest.raises(VaultError):
        make(tmp_path / "home", Sealing(recovery=New("shamir", threshold=threshold, shares=shares)))
    assert not (tmp_path / "home" / FILE).exists()


class SafeWrapper:
    """What somebody else may write: a kind of their own, that finds its key by a table of its own."""

    kind: Final = "safe"

    def __init__(self, key: Path) -> None:
        self._inner = KeyFileWrapper(key)

    def describe(self) -> str:
        return "a safe of ours"

    def wrap(self, plaintext: SecretBytes, context: bytes) -> bytes:
        return self._inner.wrap(plaintext, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes:
        return self._inner.unwrap(wrapped, context)


def test_another_holder_is_one_file_and_a_row_for_its_settings_and_its_maker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(settings: Settings, _ask: Ask) -> SafeWrapper:
        return SafeWrapper(wrapping.Table(settings, "safe").path("key"))

    with pytest.raises(InvalidInputError, match="one of file"):
        holder("safe", option="--root-key")
    monkeypatch.setattr(settings_module, "WRAPPERS", {**settings_module.WRAPPERS, "safe": frozenset({"key"})})
    monkeypatch.setattr(wrapping, "_MAKERS", {**wrapping._MAKERS, "safe": made})
    key = tmp_path / "safe.key"
    KeyFileWrapper.create(key)
    table = f'[safe]\nkey = "{key}"\n'
    done = make(tmp_path / "vault", Sealing(root=holder("safe", option="--root-key"), tables=table))
    assert opens(done.settings) == "a safe of ours"
    key.unlink()
    with pytest.raises(UnavailableError):
        opens(done.settings)
