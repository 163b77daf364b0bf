from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from keys.datakeys import Binding, generate_data_key
from keys.errors import DecryptionError, KeysError, MalformedError, UnknownKeyVersionError
from keys.keyring import KeyKind, KeyRecord, Keyring, generate_key, rewrap_key
from keys.secret import SecretBytes
from keys.states import KeyState
from keys.wrappers.keyfile import KeyFileWrapper

VAULT = bytes(range(16))
NONCE = bytes(12)
SCOPES = {KeyKind.LOOKUP: "member.phone", KeyKind.LOG_SIGNING: "vault.example/log"}
READABLE = [KeyState.ACTIVE, KeyState.DEACTIVATED, KeyState.COMPROMISED]
UNUSABLE = [KeyState.PRE_ACTIVATION, KeyState.SUSPENDED, KeyState.DESTROYED]
CODES = [KeyKind.AUTHORITY, KeyKind.LOG_MAC, KeyKind.SESSION]


@pytest.fixture
def wrapper(tmp_path: Path) -> KeyFileWrapper:
    return KeyFileWrapper.create(tmp_path / "root.key")


@pytest.fixture
def complete(wrapper: KeyFileWrapper) -> list[KeyRecord]:
    return [made(kind, 1, KeyState.ACTIVE, wrapper) for kind in KeyKind]


def made(kind: KeyKind, version: int, state: KeyState, wrapper: KeyFileWrapper) -> KeyRecord:
    record = generate_key(kind, SCOPES.get(kind, ""), version, vault_id=VAULT, root=wrapper)
    return dataclasses.replace(record, state=state)


def use(keyring: Keyring, kind: KeyKind) -> None:
    """Protect something with the active key of ``kind``."""
    uses: dict[KeyKind, Callable[[], object]] = {
        KeyKind.WRAPPING: lambda: keyring.active_epoch().wrap(Binding(1, 1, 0), NONCE, generate_data_key()),
        KeyKind.LOOKUP: lambda: keyring.lookup("member.phone").digest("x"),
        KeyKind.TOKEN: lambda: keyring.tokens.active.encode("phn", 1, bytes(8)),
        KeyKind.AUTHORITY: lambda: keyring.authority.mac("t", "1", version=1, row=b""),
        KeyKind.LOG_MAC: lambda: keyring.log_mac.mac(VAULT, 1, [bytes(32)]),
        KeyKind.SESSION: lambda: keyring.sessions.issue_access_token(VAULT, issued=0, expires=1),
        KeyKind.LOG_SIGNING: lambda: keyring.signer.sign(b""),
        KeyKind.STAFF_DATA: lambda: keyring.staff_data.seal("l", "i", nonce=NONCE, data=SecretBytes(b"")),
    }
    uses[kind]()


def test_new_key_waits_before_activation(wrapper: KeyFileWrapper) -> None:
    record = generate_key(KeyKind.WRAPPING, "", 1, vault_id=VAULT, root=wrapper)
    assert record.state is KeyState.PRE_ACTIVATION
    assert record.name == "wrapping//1"
    assert record.wrapped.hex() not in repr(record)


@pytest.mark.parametrize("kind", KeyKind)
def test_only_a_key_of_the_log_has_a_public_half(kind: KeyKind, wrapper: KeyFileWrapper) -> None:
    record = made(kind, 1, KeyState.ACTIVE, wrapper)
    signers = Keyring.unlock(VAULT, [record], wrapper).signers
    assert [record.public] == ([signer.public for signer in signers] or [b""])
    assert rewrap_key(record, vault_id=VAULT, old=wrapper, new=wrapper).public == record.public


@pytest.mark.parametrize("kind", KeyKind)
def test_active_key_protects(kind: KeyKind, complete: list[KeyRecord], wrapper: KeyFileWrapper) -> None:
    keyring = Keyring.unlock(VAULT, complete, wrapper)
    assert keyring.vault_id == VAULT
    use(keyring, kind)


@pytest.mark.parametrize("kind", KeyKind)
@pytest.mark.parametrize("state", [state for state in KeyState if state is not KeyState.ACTIVE])
def test_key_that_is_not_active_does_not_protect(
    kind: KeyKind, state: KeyState, wrapper: KeyFileWrapper
) -> None:
    keyring = Keyring.unlock(VAULT, [made(kind, 1, state, wrapper)], wrapper)
    with pytest.raises(UnknownKeyVersionError):
        use(keyring, kind)


@pytest.mark.parametrize("kind", KeyKind)
def test_key_that_is_missing_does_not_protect(kind: KeyKind, wrapper: KeyFileWrapper) -> None:
    with pytest.raises(UnknownKeyVersionError):
        use(Keyring.unlock(VAULT, [], wrapper), kind)


@pytest.mark.parametrize("state", READABLE)
def test_readable_states_read_what_was_sealed(
    state: KeyState, complete: list[KeyRecord], wrapper: KeyFileWrapper
) -> None:
    before = Keyring.unlock(VAULT, complete, wrapper)
    binding = Binding(1, 1, 0)
    wrapped = before.active_epoch().wrap(binding, NONCE, generate_data_key())
    token = before.tokens.active.encode("phn", 1, bytes(8))
    note = before.staff_data.seal("reason", "1", nonce=NONCE, data=SecretBytes(b"x"))
    after = Keyring.unlock(VAULT, [dataclasses.replace(record, state=state) for record in complete], wrapper)
    assert after.epoch(1).unwrap(binding, wrapped).generation == 1
    assert after.tokens.decode(token).row_id == 1
    assert after.staff_data.open("reason", "1", note).expose() == b"x"
    assert [key.version for key in after.lookup_all("member.phone")] == [1]


@pytest.mark.parametrize("state", UNUSABLE)
def test_other_states_read_nothing(
    state: KeyState, complete: list[KeyRecord], wrapper: KeyFileWrapper
) -> None:
    before = Keyring.unlock(VAULT, complete, wrapper)
    token = before.tokens.active.encode("phn", 1, bytes(8))
    note = before.staff_data.seal("reason", "1", nonce=NONCE, data=SecretBytes(b"x"))
    after = Keyring.unlock(VAULT, [dataclasses.replace(record, state=state) for record in complete], wrapper)
    with pytest.raises(UnknownKeyVersionError, match="wrapping//1"):
        after.epoch(1)
    with pytest.raises(MalformedError, match="key_version"):
        after.tokens.decode(token)
    with pytest.raises(UnknownKeyVersionError, match="staff_data//1"):
        after.staff_data.open("reason", "1", note)
    with pytest.raises(UnknownKeyVersionError, match=r"lookup/member\.phone/any"):
        after.lookup_all("member.phone")


@pytest.mark.parametrize("state", KeyState)
def test_code_verifies_only_under_active_and_deactivated_keys(
    state: KeyState, complete: list[KeyRecord], wrapper: KeyFileWrapper
) -> None:
    before = Keyring.unlock(VAULT, complete, wrapper)
    row = before.authority.mac("t", "1", version=1, row=b"")
    unit = before.log_mac.mac(VAULT, 1, [bytes(32)])
    access = before.sessions.issue_access_token(VAULT, issued=0, expires=9).expose()
    after = Keyring.unlock(VAULT, [dataclasses.replace(record, state=state) for record in complete], wrapper)
    if state in (KeyState.ACTIVE, KeyState.DEACTIVATED):
        assert after.authority.verify("t", "1", version=1, row=b"", code=row) == 1
        assert after.log_mac.verify(VAULT, 1, [bytes(32)], code=unit) == 1
        assert after.sessions.open_access_token(access, at=1).credential_id == VAULT
        return
    with pytest.raises(UnknownKeyVersionError):
        after.authority.verify("t", "1", version=1, row=b"", code=row)
    with pytest.raises(UnknownKeyVersionError):
        after.log_mac.verify(VAULT, 1, [bytes(32)], code=unit)
    with pytest.raises(UnknownKeyVersionError):
        after.sessions.open_access_token(access, at=1)


def test_after_a_rotation_the_new_key_protects_and_the_old_one_reads(wrapper: KeyFileWrapper) -> None:
    records = [
        made(kind, version, state, wrapper)
        for kind in KeyKind
        for version, state in ((1, KeyState.DEACTIVATED), (2, KeyState.ACTIVE))
    ]
    keyring = Keyring.unlock(VAULT, records, wrapper)
    assert keyring.active_epoch().epoch == 2
    assert keyring.epoch(1).epoch == 1
    assert keyring.tokens.active.version == 2
    assert keyring.lookup("member.phone").version == 2
    assert [key.version for key in keyring.lookup_all("member.phone")] == [2, 1]
    assert keyring.staff_data.active_version == 2
    assert keyring.sessions.active_version == 2
    assert keyring.signer.name == "vault.example/log"
    for kind in KeyKind:
        use(keyring, kind)


def test_an_active_key_may_be_older_than_a_deactivated_one(wrapper: KeyFileWrapper) -> None:
    records = [
        made(KeyKind.LOOKUP, 1, KeyState.ACTIVE, wrapper),
        made(KeyKind.LOOKUP, 2, KeyState.DEACTIVATED, wrapper),
    ]
    assert Keyring.unlock(VAULT, records, wrapper).lookup("member.phone").version == 1


@pytest.mark.parametrize(
    "change",
    [
        {"kind": KeyKind.SESSION},
        {"version": 2},
        {"wrapped": b""},
        {"kind": KeyKind.LOOKUP, "scope": "member.phone"},
    ],
    ids=["kind", "version", "wrapped", "scope"],
)
def test_key_moved_to_another_name_refuses_the_keyring(
    change: dict[str, object], wrapper: KeyFileWrapper
) -> None:
    record = made(KeyKind.WRAPPING, 1, KeyState.ACTIVE, wrapper)
    with pytest.raises(DecryptionError):
        Keyring.unlock(VAULT, [dataclasses.replace(record, **change)], wrapper)  # type: ignore[arg-type] # one change a case


def test_the_keyring_knows_which_epochs_are_compromised(wrapper: KeyFileWrapper) -> None:
    states = (*READABLE, KeyState.COMPROMISED, KeyState.DESTROYED)
    records = [made(KeyKind.WRAPPING, at, state, wrapper) for at, state in enumerate(states, start=1)]
    records.append(made(KeyKind.LOOKUP, 9, KeyState.COMPROMISED, wrapper))
    assert Keyring.unlock(VAULT, records, wrapper).compromised_epochs == {3, 4}
    assert Keyring.unlock(VAULT, records[:2], wrapper).compromised_epochs == frozenset()


def test_a_suspended_epoch_is_known_and_unwraps_in_a_restore_alone(wrapper: KeyFileWrapper) -> None:
    records = [
        made(KeyKind.WRAPPING, 1, KeyState.SUSPENDED, wrapper),
        made(KeyKind.WRAPPING, 2, KeyState.ACTIVE, wrapper),
        made(KeyKind.LOOKUP, 3, KeyState.SUSPENDED, wrapper),
    ]
    keyring = Keyring.unlock(VAULT, records, wrapper)
    assert keyring.suspended_epochs == {1}
    with pytest.raises(UnknownKeyVersionError):
        keyring.epoch(1)
    restoring = Keyring.unlock(VAULT, records, wrapper, restoring=True)
    assert restoring.suspended_epochs == {1}
    assert restoring.epoch(1).epoch == 1
    with pytest.raises(UnknownKeyVersionError):
        restoring.epoch(1).wrap(Binding(1, 1, 0), bytes(12), generate_data_key())
    with pytest.raises(UnknownKeyVersionError):
        restoring.lookup_all("member.phone")


def test_key_of_another_vault_refuses_the_keyring(complete: list[KeyRecord], wrapper: KeyFileWrapper) -> None:
    with pytest.raises(DecryptionError):
        Keyring.unlock(bytes(16), complete, wrapper)


def test_destroyed_key_needs_no_material(wrapper: KeyFileWrapper) -> None:
    gone = KeyRecord(KeyKind.WRAPPING, "", 1, KeyState.DESTROYED, b"")
    keyring = Keyring.unlock(VAULT, [gone], wrapper)
    with pytest.raises(UnknownKeyVersionError):
        keyring.epoch(1)


@pytest.mark.parametrize(
    ("kind", "scope", "version", "rule"),
    [
        (KeyKind.WRAPPING, "", 0, "key_version"),
        (KeyKind.WRAPPING, "", 2**32, "key_version"),
        (KeyKind.TOKEN, "", 4096, "key_version"),
        (KeyKind.WRAPPING, "x", 1, "scope"),
        (KeyKind.LOOKUP, "", 1, "scope"),
        (KeyKind.LOG_SIGNING, "", 1, "scope"),
    ],
)
def test_refuses_name_outside_the_document(
    kind: KeyKind, scope: str, version: int, rule: str, wrapper: KeyFileWrapper
) -> None:
    with pytest.raises(MalformedError, match=rule):
        generate_key(kind, scope, version, vault_id=VAULT, root=wrapper)
    with pytest.raises(MalformedError, match=rule):
        Keyring.unlock(VAULT, [KeyRecord(kind, scope, version, KeyState.ACTIVE, b"")], wrapper)


def test_refuses_two_keys_of_one_name(complete: list[KeyRecord], wrapper: KeyFileWrapper) -> None:
    again = dataclasses.replace(complete[0], state=KeyState.DEACTIVATED)
    with pytest.raises(MalformedError, match="duplicate"):
        Keyring.unlock(VAULT, [*complete, again], wrapper)


@pytest.mark.parametrize("kind", KeyKind)
def test_refuses_two_active_keys(kind: KeyKind, complete: list[KeyRecord], wrapper: KeyFileWrapper) -> None:
    with pytest.raises(MalformedError, match="two_active"):
        Keyring.unlock(VAULT, [*complete, made(kind, 2, KeyState.ACTIVE, wrapper)], wrapper)


def test_refuses_two_active_log_keys_of_two_names(complete: list[KeyRecord], wrapper: KeyFileWrapper) -> None:
    other = generate_key(KeyKind.LOG_SIGNING, "other.example/log", 1, vault_id=VAULT, root=wrapper)
    with pytest.raises(MalformedError, match="two_active"):
        Keyring.unlock(VAULT, [*complete, dataclasses.replace(other, state=KeyState.ACTIVE)], wrapper)


def test_each_lookup_scope_has_its_own_active_key(wrapper: KeyFileWrapper) -> None:
    records = [
        dataclasses.replace(
            generate_key(KeyKind.LOOKUP, scope, 1, vault_id=VAULT, root=wrapper), state=KeyState.ACTIVE
        )
        for scope in ("member.phone", "partner.phone", "ref/member")
    ]
    keyring = Keyring.unlock(VAULT, records, wrapper)
    digests = {keyring.lookup(record.scope).digest("+821012345678") for record in records}
    assert len(digests) == 3


def test_root_rotation_keeps_every_key(
    complete: list[KeyRecord], wrapper: KeyFileWrapper, tmp_path: Path
) -> None:
    new = KeyFileWrapper.create(tmp_path / "new.key")
    token = Keyring.unlock(VAULT, complete, wrapper).tokens.active.encode("phn", 1, bytes(8))
    moved = [rewrap_key(record, vault_id=VAULT, old=wrapper, new=new) for record in complete]
    assert [(record.name, record.state) for record in moved] == [(r.name, r.state) for r in complete]
    assert Keyring.unlock(VAULT, moved, new).tokens.decode(token).row_id == 1
    with pytest.raises(DecryptionError):
        Keyring.unlock(VAULT, moved, wrapper)


def test_no_key_object_shows_its_key_or_is_pickled(
    complete: list[KeyRecord], wrapper: KeyFileWrapper
) -> None:
    keyring = Keyring.unlock(VAULT, complete, wrapper)
    epoch = keyring.active_epoch()
    data_key = epoch.unwrap(Binding(1, 1, 0), epoch.wrap(Binding(1, 1, 0), NONCE, SecretBytes(b"k" * 32)))
    holders = [wrapper, keyring, epoch, data_key, keyring.tokens, keyring.tokens.active, keyring.signer]
    holders += [keyring.authority, keyring.log_mac, keyring.sessions, keyring.staff_data]
    holders += [keyring.lookup("member.phone")]
    for holder in holders:
        assert "kkkk" not in repr(holder)
        assert not hasattr(holder, "__dict__")
        with pytest.raises(TypeError):
            pickle.dumps(holder)


def test_refuses_vault_id_of_another_length(wrapper: KeyFileWrapper) -> None:
    with pytest.raises(KeysError, match="vault_id"):
        Keyring.unlock(b"short", [], wrapper)
