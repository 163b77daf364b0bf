"""What held an older root key is ended, or confirmed by its name, for each holder there is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.kms.models import kms_backends

from cli.main import run
from keys.errors import DecryptionError, WrapperUnavailableError
from keys.passwords import Passwords
from keys.rootkey import RootKey, RootSlot
from tests.conformance.counter import Counter
from tests.conformance.retiring import Retiring, saying
from tests.support.furnished import CHEAP
from tests.support.openbao import OpenBaoServer
from tests.support.softhsm import SoftToken, make_key
from vault.assembly import (
    Ask,
    New,
    Sealing,
    Settings,
    change_root_key,
    end_copies,
    look,
    nobody,
    open_vault,
)
from vault.assembly.oldcopies import end_copy
from vault.assembly.wrapping import wrapper_of
from vault.domain.errors import ConflictError, UnavailableError
from vault.rotation.retirement import Step
from vault.settings import FILE
from vault.storage.roots import RootRow, read_roots

pytestmark = pytest.mark.usefixtures("cheap_passphrases")

REGION = "ap-northeast-2"
HOUR = timedelta(hours=1)
FIRST, NEXT = "correct horse 배터리 staple", "incorrect donkey 전지 paperclip"


class Held(Retiring):
    """A vault whose root key has been given to another holder before everything is to end."""

    def __init__(self, counter: Counter) -> None:
        super().__init__(counter)
        self.old: list[RootRow] = []
        """The copies of the root key that is to end, as a dump has them."""
        self.recovery: list[str] = []
        """The shares of its copy for recovery."""

    def table(self, text: str) -> None:
        """Give the settings of the vault a table, in the place of one of that name."""
        file = self.office.home / FILE
        name = text.partition("\n")[0]
        before = file.read_text(encoding="utf-8").partition(name)[0]
        file.write_text(f"{before}{text}", encoding="utf-8")
        self.office.settings = Settings.load(self.office.home)

    def give_to(self, sealing: Sealing, ask: Ask | None = None) -> None:
        """Let ``sealing`` hold the root key, and remember its copies. ``ask`` opens it, if shares do not."""
        changed = change_root_key(self.office.settings, sealing, clock=self.office.clock)
        self.recovery = [share.expose() for share in changed.recovery_shares]
        shares = [share.expose() for share in changed.shares]
        # The node that runs knows neither the new table nor whom to ask.
        self.counter.vault.close()
        self.counter.vault = open_vault(
            self.office.settings,
            clock=self.office.clock,
            passwords=Passwords(CHEAP),
            ask=ask or saying(*shares),
        )
        self.office.vault = self.counter.vault
        self.old = [row for row in self.now() if row.state == "active"]

    def now(self) -> list[RootRow]:
        """Return every copy as it is now."""
        with self.counter.vault.changes.database.reading() as connection:
            return read_roots(connection)

    def next_root_key(self, sealing: Sealing | None = None, **more: Any) -> None:
        changed = change_root_key(
            self.office.settings, sealing or Sealing(), clock=self.office.clock, apart=True, **more
        )
        self.shares = [share.expose() for share in changed.recovery_shares]

    def end(self, ask: Ask | None = None, **more: Any) -> dict[str, str]:
        """End the copies of the root key that had the holder; return how, by their names."""
        names = [copy.name for copy in self.look().copies if copy.row.version == self.old[0].version]
        ended = end_copies(
            self.office.settings,
            names,
            by="stf_00000000000000000000",
            ask=ask or saying(*self.shares[:2]),
            clock=self.office.clock,
            **more,
        )
        return {copy.name: copy.ending.how for copy in ended}

    def open_old(self, ask: Ask = nobody) -> RootKey:
        """Open the live copy of the old root key, as whoever has a dump would. Raises KeysError."""
        row = next(row for row in self.old if row.slot == "live")
        wrapper = wrapper_of(self.office.settings, ask, row)
        vault_id = self.counter.vault.standings.current.keyring.vault_id
        return RootKey.open(wrapper, row.wrapped, vault_id=vault_id, version=row.version, slot=RootSlot.LIVE)

    def to_root(self) -> None:
        """Do the procedure up to the new root key. The running node may be asked nothing."""
        self.up_to(Step.ROOT)


@pytest.fixture
def held(on_sqlite: Counter) -> Held:
    return Held(on_sqlite)


def test_a_passphrase_is_confirmed_and_the_next_one_has_to_be_another(held: Held) -> None:
    held.to_root()
    # The holder of the moment changes while everything else is done already.
    held.give_to(Sealing(root=New("passphrase"), ask=saying(FIRST)), saying(FIRST))
    held.office.clock.pass_time(seconds=1)
    with pytest.raises(ConflictError, match=r"opens root key 2 as well.*choose another"):
        held.next_root_key(Sealing(ask=saying(FIRST)), ask=saying(FIRST))
    held.next_root_key(Sealing(ask=saying(NEXT)), ask=saying(FIRST))
    assert held.open_old(saying(FIRST)).version == 2
    with pytest.raises(DecryptionError):
        held.open_old(saying(NEXT))


def test_names_of_what_only_people_end(held: Held) -> None:
    held.give_to(
        Sealing(root=New("shamir", threshold=2, shares=4), recovery=New("passphrase"), ask=saying(FIRST))
    )
    held.to_root()
    with pytest.raises(UnavailableError, match="--unseal-fd"):
        held.next_root_key(Sealing(root=New("file"), recovery=New("shamir")))
    held.next_root_key(
        Sealing(root=New("file"), recovery=New("shamir")), from_recovery=True, ask=saying(FIRST)
    )
    assert held.end() == {
        "4 shares of root key 2": "confirmed",
        "recovery passphrase of root key 2": "confirmed",
    }


def test_a_recovery_file_is_ended_where_it_was_written(held: Held, tmp_path: Path) -> None:
    away = tmp_path / "away.key"
    held.give_to(Sealing(recovery=New("file", file=away)))
    held.to_root()
    held.next_root_key(Sealing(recovery=New("shamir")))
    live = held.office.home / "keys" / "root-2.key"
    assert held.end() == {str(live): "overwritten", str(away): "overwritten"}
    assert not live.exists()
    assert not away.exists()
    with pytest.raises(WrapperUnavailableError, match="missing"):
        held.open_old()


def test_a_key_file_without_a_fingerprint_is_removed_by_people_alone(held: Held) -> None:
    """As after an upgrade of a release that wrote none down: another key may lie there by now."""
    settings = held.office.settings
    old = RootRow(1, "live", "file", "retired", b"", 0)
    before = settings.root_key.read_bytes()
    with pytest.raises(ConflictError, match=r"root\.key, so nobody can tell.*remove it yourself"):
        end_copy(settings, old, [], delete_in_kms=False)
    assert settings.root_key.read_bytes() == before
    settings.root_key.unlink()
    assert end_copy(settings, old, [], delete_in_kms=False).how == "absent"


def _openbao(held: Held, server: OpenBaoServer, token: str, key: str) -> None:
    file = held.office.home / "token"
    file.write_text(token + "\n", encoding="utf-8")
    file.chmod(0o600)
    held.table(f'[openbao]\naddress = "{server.address}"\nkey = "{key}"\ntoken_file = "{file}"\n')


def test_a_version_of_a_transit_key_is_removed_by_a_token_that_may(
    held: Held, openbao: OpenBaoServer
) -> None:
    _openbao(held, openbao, openbao.root_token, openbao.make_key())
    held.give_to(Sealing(root=New("openbao")))
    held.to_root()
    # The transit key gets its next version by itself: under this one the old copy would live on.
    held.next_root_key()
    assert held.open_old().version == 2
    assert list(held.end().values()) == ["removed", "confirmed"]
    with pytest.raises(WrapperUnavailableError, match=r"version_removed.*min_decryption_version"):
        held.open_old()


def _by_name(held: Held) -> None:
    """Let the settings name the same server otherwise."""
    file = held.office.home / FILE
    file.write_text(
        file.read_text(encoding="utf-8").replace("//127.0.0.1:", "//localhost:"), encoding="utf-8"
    )
    held.office.settings = Settings.load(held.office.home)


def test_a_transit_key_by_another_address_gets_its_next_version_too(
    held: Held, openbao: OpenBaoServer
) -> None:
    key = openbao.make_key()
    _openbao(held, openbao, openbao.root_token, key)
    held.give_to(Sealing(root=New("openbao")))
    held.to_root()
    _by_name(held)
    held.next_root_key()
    [now] = [row for row in held.now() if row.kind == "openbao" and row.state == "active"]
    assert now.sealed_by.endswith(f"/keys/{key}, version 2")
    assert list(held.end().values()) == ["confirmed", "confirmed"]
    openbao.configure(key, min_decryption_version=2)
    with pytest.raises(WrapperUnavailableError, match="version_removed"):
        held.open_old()


def test_a_transit_key_that_seals_the_one_in_force_by_another_address_is_not_ended(
    held: Held, openbao: OpenBaoServer
) -> None:
    key = openbao.make_key()
    _openbao(held, openbao, openbao.root_token, key)
    held.give_to(Sealing(root=New("openbao")))
    held.to_root()
    _by_name(held)
    # By hand, which does not ask for another version.
    changed = change_root_key(held.office.settings, Sealing(), clock=held.office.clock)
    held.shares = [share.expose() for share in changed.recovery_shares]
    with pytest.raises(ConflictError, match=rf"same by another address.*transit/keys/{key}/rotate"):
        held.end()
    openbao.rotate(key)
    changed = change_root_key(held.office.settings, Sealing(), clock=held.office.clock)
    held.shares = [share.expose() for share in changed.recovery_shares]
    assert list(held.end().values()) == ["confirmed", "confirmed"]


def test_a_token_that_may_not_is_told_what_somebody_else_has_to_do(
    held: Held, openbao: OpenBaoServer
) -> None:
    key = openbao.make_key()
    _openbao(held, openbao, openbao.make_token(key), key)
    held.give_to(Sealing(root=New("openbao")))
    held.to_root()
    with pytest.raises(ConflictError, match=rf"bao write -f transit/keys/{key}/rotate"):
        held.next_root_key()
    openbao.rotate(key)
    held.next_root_key()
    with pytest.raises(ConflictError, match=r"version 1 .* still opens.*min_decryption_version=2"):
        held.end()
    openbao.configure(key, min_decryption_version=2)
    assert list(held.end().values()) == ["disallowed", "confirmed"]
    with pytest.raises(WrapperUnavailableError, match="version_removed"):
        held.open_old()


def test_a_transit_key_that_holds_nothing_more_loses_its_newest_version(
    held: Held, openbao: OpenBaoServer
) -> None:
    _openbao(held, openbao, openbao.root_token, openbao.make_key())
    held.give_to(Sealing(root=New("openbao")))
    held.to_root()
    held.next_root_key(Sealing(root=New("file")))
    assert list(held.end().values()) == ["removed", "confirmed"]
    with pytest.raises(WrapperUnavailableError, match="version_removed"):
        held.open_old()


def test_a_deleted_transit_key_is_gone_and_one_that_cannot_be_asked_about_is_not(
    held: Held, openbao: OpenBaoServer
) -> None:
    key = openbao.make_key()
    _openbao(held, openbao, openbao.root_token, key)
    held.give_to(Sealing(root=New("openbao")))
    held.to_root()
    held.next_root_key(Sealing(root=New("file")))
    _openbao(held, openbao, "hvs.nobody", key)
    with pytest.raises(UnavailableError, match=r"denied; the token is expired.*get a new token"):
        held.end()
    openbao.delete(key)
    _openbao(held, openbao, openbao.root_token, key)
    assert list(held.end().values()) == ["absent", "confirmed"]
    with pytest.raises(WrapperUnavailableError, match="missing_key"):
        held.open_old()


def test_a_transit_key_that_the_settings_know_no_more_is_confirmed(
    held: Held, openbao: OpenBaoServer
) -> None:
    key = openbao.make_key()
    _openbao(held, openbao, openbao.root_token, key)
    held.give_to(Sealing(root=New("openbao")))
    held.to_root()
    held.next_root_key(Sealing(root=New("file")))
    _openbao(held, openbao, openbao.root_token, openbao.make_key())
    name = f"OpenBao transit {openbao.address} transit/keys/{key}, version 1"
    assert held.end() == {name: "confirmed", "3 recovery shares of root key 2": "confirmed"}


def _pkcs11(held: Held, token: SoftToken, key: str) -> None:
    pin = held.office.home / "pin"
    pin.write_text(token.pin.expose() + "\n", encoding="utf-8")
    pin.chmod(0o600)
    held.table(
        f'[pkcs11]\nmodule = "{token.module}"\ntoken = "{token.label}"\nkey = "{key}"\npin_file = "{pin}"\n'
    )


def test_a_key_in_a_token_is_destroyed_once_another_holds_the_root_key(
    held: Held, soft_token: SoftToken
) -> None:
    make_key(soft_token)
    _pkcs11(held, soft_token, "root")
    held.give_to(Sealing(root=New("pkcs11")))
    held.to_root()
    with pytest.raises(ConflictError, match=r"opens root key 2 as well.*--from-recovery"):
        held.next_root_key()
    make_key(soft_token, "root-b")
    assert held.open_old().version == 2
    _pkcs11(held, soft_token, "root-b")
    held.next_root_key(from_recovery=True, ask=saying(*held.recovery[:2]))
    assert held.end() == {
        f"PKCS#11 token {soft_token.label}, key root": "destroyed",
        "3 recovery shares of root key 2": "confirmed",
    }
    _pkcs11(held, soft_token, "root")
    with pytest.raises(WrapperUnavailableError, match=r"missing_key.*--from-recovery"):
        held.open_old()
    _pkcs11(held, soft_token, "root-b")
    with pytest.raises(DecryptionError):
        held.open_old()


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from boto3.session import Session
    from moto import mock_aws

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with mock_aws():
        yield Session(region_name=REGION).client("kms")


def test_a_key_of_kms_is_deleted_on_a_day_to_come_when_that_is_asked_for(
    held: Held, kms: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    held.table(f'[aws_kms]\nkey = "{arn}"\nregion = "{REGION}"\n')
    held.give_to(Sealing(root=New("aws_kms")))
    held.to_root()
    with pytest.raises(ConflictError, match=r"make another key, name it in the table \[aws_kms\]"):
        held.next_root_key()
    held.next_root_key(Sealing(root=New("file")))
    assert held.end(delete_in_kms=True) == {
        f"AWS KMS {arn} in {REGION}": "scheduled",
        "3 recovery shares of root key 2": "confirmed",
    }
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert held.open_old().version == 2
    held.end_copies()
    [row] = [row for row in held.now() if row.kind == "aws_kms"]
    assert row.ended_at is not None
    day = datetime.fromtimestamp(row.ended_at / 1_000_000, UTC)
    assert look(held.office.settings, clock=lambda: day - HOUR).step is Step.WAIT
    assert look(held.office.settings, clock=lambda: day).step is Step.DONE
    assert run(["keys", "retire", "--status", "--home", str(held.office.home)]) == 0
    assert f"every copy ends; one on {day.astimezone():%Y-%m-%d}" in capsys.readouterr().out
    # That day comes.
    del kms_backends["123456789012"][REGION].keys[arn.rpartition("/")[2]]
    with pytest.raises(WrapperUnavailableError, match=r"missing_key.*a deleted key is lost"):
        held.open_old()


def test_an_alias_of_kms_is_never_deleted_by(held: Held, kms: Any) -> None:
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/piivault", TargetKeyId=key)
    alias = f"arn:aws:kms:{REGION}:123456789012:alias/piivault"
    held.table(f'[aws_kms]\nkey = "{alias}"\nregion = "{REGION}"\n')
    held.give_to(Sealing(root=New("aws_kms")))
    held.to_root()
    held.next_root_key(Sealing(root=New("file")))
    assert list(held.end(delete_in_kms=True).values()) == ["confirmed", "confirmed"]
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"


def _told(name: str, *, state: str = "active") -> RootRow:
    """Return what the database says of a copy that the key of this name sealed."""
    return RootRow(3, "live", "aws_kms", state, b"", 0, f"AWS KMS {name} in {REGION}")


def _in_settings(held: Held, name: str) -> None:
    held.table(f'[aws_kms]\nkey = "{name}"\nregion = "{REGION}"\n')


def test_a_key_of_kms_that_seals_the_one_in_force_by_another_name_is_not_deleted(
    held: Held, kms: Any
) -> None:
    made, other = (kms.create_key()["KeyMetadata"] for _ in range(2))
    kms.create_alias(AliasName="alias/piivault", TargetKeyId=made["KeyId"])
    alias = f"arn:aws:kms:{REGION}:123456789012:alias/piivault"
    old = _told(made["Arn"], state="retired")
    # The last: told by another key, and opened by this one ever since the settings name it.
    for told, named in ((alias, alias), (made["KeyId"], made["KeyId"]), (other["Arn"], alias)):
        _in_settings(held, named)
        with pytest.raises(ConflictError, match=rf"seals the root key in force, too, as AWS KMS {named}"):
            end_copy(held.office.settings, old, [_told(told)], delete_in_kms=True)
    assert kms.describe_key(KeyId=made["KeyId"])["KeyMetadata"]["KeyState"] == "Enabled"
    _in_settings(held, other["Arn"])
    ended = end_copy(held.office.settings, old, [_told(other["Arn"])], delete_in_kms=True)
    assert ended.how == "scheduled"


def test_no_key_of_kms_is_deleted_before_the_one_in_force_is_known(held: Held, kms: Any) -> None:
    first, second = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    _in_settings(held, second)
    gone = f"arn:aws:kms:{REGION}:123456789012:alias/gone"
    with pytest.raises(UnavailableError, match=r"alias/gone.*missing_key"):
        end_copy(held.office.settings, _told(first, state="retired"), [_told(gone)], delete_in_kms=True)
    assert kms.describe_key(KeyId=first)["KeyMetadata"]["KeyState"] == "Enabled"


def test_a_key_of_kms_is_confirmed_by_its_name_otherwise(held: Held, kms: Any) -> None:
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    held.table(f'[aws_kms]\nkey = "{arn}"\nregion = "{REGION}"\n')
    held.give_to(Sealing(root=New("aws_kms")))
    held.to_root()
    held.next_root_key(Sealing(root=New("file")))
    assert list(held.end().values()) == ["confirmed", "confirmed"]
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "Enabled"


def test_what_seals_the_root_key_in_force_is_never_ended(held: Held, openbao: OpenBaoServer) -> None:
    _openbao(held, openbao, openbao.root_token, openbao.make_key())
    held.give_to(Sealing(root=New("openbao")))
    held.to_root()
    # Not apart: by an ordinary change of the root key, which does not ask for that.
    changed = change_root_key(held.office.settings, Sealing(), clock=held.office.clock)
    held.shares = [share.expose() for share in changed.recovery_shares]
    with pytest.raises(ConflictError, match="seals the root key in force, too"):
        held.end()
    assert held.open_old().version == 2
    assert held.look().step is Step.COPIES
