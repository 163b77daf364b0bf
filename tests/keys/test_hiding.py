"""Nothing in ``keys`` that holds a key or another secret shows it, copies it, or lets it out with an error.

Classes are found by reflection: one that is new is held to this, or is named here as holding nothing.
"""

from __future__ import annotations

import base64
import copy
import importlib
import inspect
import io
import pickle
import pkgutil
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

import keys
from keys.bearer import generate_client_secret
from keys.datakeys import Binding, generate_data_key
from keys.envelope import DataKey
from keys.errors import KeysError
from keys.keyring import KeyKind, KeyRecord, Keyring, root_context
from keys.passwords import Argon2Parameters, Passwords
from keys.recipients import Identities, Recipients, new_identity
from keys.rootkey import RootKey
from keys.secret import SecretBytes, SecretText
from keys.signing import SigningKey
from keys.states import KeyState
from keys.wrappers.aws_kms import AwsKmsWrapper
from keys.wrappers.cryptoki import Token
from keys.wrappers.keyfile import KeyFileWrapper
from keys.wrappers.openbao import OpenBaoWrapper
from keys.wrappers.passphrase import Argon2Cost, PassphraseWrapper
from keys.wrappers.shamir import ShamirWrapper, ShareCollector
from keys.wrappers.transit import Answer

TESTS = Path(__file__).parents[1]
VAULT = b"sixteen bytes id"
MARK = b"CANARYKEY"
"""What every secret here begins with: nine bytes, so that its base64 is where that of the whole begins."""
KEY = MARK + b"-of-thirty-two-bytes-01"
TEXT = "CANARYKEY-A-TEXT-AS-SECRET-AS-A-KEY"
FORMS = (
    MARK.decode(),
    MARK.hex(),
    base64.b64encode(MARK).decode(),
    str(list(MARK))[1:-1],
    "AGE-SECRET-KEY-1",
)
"""What to look for. The last is that of identities, which nobody chooses."""
CHEAP = Argon2Parameters(memory_kib=8, passes=1)

HOLD_NOTHING = frozenset(
    {
        # Costs, names, places and states.
        *("Argon2Parameters", "Argon2Cost", "Binding", "KeyRecord", "ValueContext", "_Profile", "Progress"),
        # What is public, wrapped, or says what somebody showed.
        *("AccessToken", "DecodedToken", "TokenBatch", "Recipients", "VerifyKey", "_Parts"),
        # A hasher and the verifier of nobody's password; a lock; an address and certificates; a clock.
        *("Passwords", "_Gate", "_Server", "Deadline"),
        # Pipes that are gone when the call that made them returns.
        *("_Source", "_Target", "_Usable"),
    }
)
"""Classes of ``keys`` whose objects hold no secret."""


def _records(root: RootKey) -> list[KeyRecord]:
    """Return an active key of each kind, each of them ``KEY``."""
    scopes = {KeyKind.LOOKUP: "member.phone", KeyKind.LOG_SIGNING: "vault.example/log"}
    found = []
    for kind in KeyKind:
        record = KeyRecord(kind, scopes.get(kind, ""), 1, KeyState.ACTIVE, b"")
        found.append(replace(record, wrapped=root.wrap(SecretBytes(KEY), root_context(VAULT, record))))
    return found


@pytest.fixture(scope="module")
def holders(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Return every object of ``keys`` that can be reached from one of each kind that is made by itself."""
    folder, patch = tmp_path_factory.mktemp("keys"), pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    patch.setenv("AWS_SECRET_ACCESS_KEY", TEXT)
    (folder / "root.key").write_text(f"piivault-root-key-v1 {KEY.hex()}\n")
    (folder / "root.key").chmod(0o600)
    root, secret = RootKey(1, SecretBytes(KEY)), SecretText(TEXT)
    keyring = Keyring.unlock(VAULT, _records(root), root)
    collector = ShareCollector()
    collector.add(ShamirWrapper.create(2, 3)[1][0])
    roots = [
        root,
        keyring,
        DataKey(1, SecretBytes(KEY)),
        KeyFileWrapper(folder / "root.key"),
        PassphraseWrapper(secret, Argon2Cost(memory_kib=8, passes=1, lanes=1)),
        ShamirWrapper(SecretBytes(KEY), "2 of 3"),
        collector,
        OpenBaoWrapper(address="http://127.0.0.1:1", key_name="root", token=secret),
        Token(Path("/nonexistent/module.so"), "label", secret, "key root"),
        AwsKmsWrapper("11111111-2222-3333-4444-555555555555", region="eu-west-1"),
        Identities([new_identity()[0]]),
        Answer(200, SecretBytes(KEY)),
        secret,
    ]
    patch.undo()
    return list(_reached(roots))


def _reached(roots: list[object]) -> Iterator[object]:
    """Yield every object of ``keys`` that ``roots`` hold, themselves first."""
    left, seen = list(roots), set[int]()
    while left:
        thing = left.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, Mapping):
            left += [*thing.keys(), *thing.values()]
        elif isinstance(thing, list | tuple | set | frozenset):
            left += thing
        if type(thing).__module__.partition(".")[0] == "keys" and not isinstance(thing, type | Enum):
            yield thing
            left += _parts(thing)


def _parts(thing: object) -> Iterator[object]:
    for kind in type(thing).__mro__:
        for name in kind.__dict__.get("__slots__", ()):
            if hasattr(thing, name):
                yield getattr(thing, name)
    yield from getattr(thing, "__dict__", {}).values()


def _classes() -> Iterator[type]:
    """Yield every class that a module of ``keys`` defines, but errors, states and protocols."""
    for module in pkgutil.walk_packages(keys.__path__, "keys."):
        found = importlib.import_module(module.name)
        for _, kind in inspect.getmembers(found, inspect.isclass):
            other = Protocol in kind.__bases__ or issubclass(kind, BaseException | Enum)
            if kind.__module__ == module.name and not other and kind.__name__ != "_Secret":
                yield kind


def _told(texts: str) -> list[str]:
    return [form for form in FORMS if form in texts]


def test_every_class_that_holds_a_key_is_among_them(holders: list[object]) -> None:
    # The one over a token in hardware holds a Token, which is among them.
    known = {type(holder).__name__ for holder in holders} | HOLD_NOTHING | {"Pkcs11Wrapper"}
    assert {kind.__name__ for kind in _classes()} - known == set()
    assert {kind.__name__ for kind in _classes()} >= HOLD_NOTHING


def test_the_forms_are_those_that_a_secret_would_show_in() -> None:
    shown = (repr(KEY), KEY.hex(), base64.b64encode(KEY).decode(), str(list(KEY)), new_identity()[0].expose())
    assert [_told(text) for text in shown] == [[form] for form in FORMS]


def test_none_shows_it_in_any_text(holders: list[object]) -> None:
    for holder in holders:
        forms = (repr(holder), str(holder), f"{holder}", f"{[holder]}", "%s" % (holder,), ascii(holder))  # noqa: UP031 - one of the forms
        assert _told("".join(forms)) == [], type(holder)
        assert not hasattr(holder, "__dict__"), type(holder)


def test_none_is_pickled_copied_or_encoded(holders: list[object]) -> None:
    for holder in _with_secrets(holders):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
                pickle.dumps(holder, protocol)
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            copy.deepcopy(holder)
        with pytest.raises((TypeError, msgspec.ValidationError)):
            msgspec.json.encode(holder)


def _with_secrets(holders: list[object]) -> list[object]:
    return [holder for holder in holders if type(holder).__name__ not in HOLD_NOTHING]


def test_the_environment_has_none(holders: list[object]) -> None:
    assert holders
    assert _told(Path("/proc/self/environ").read_bytes().decode("latin-1")) == []


# Errors


def _report(error: BaseException | None) -> str:
    """Return all that a reporter of errors could collect: texts, arguments and locals, of the whole chain."""
    told = []
    while error is not None:
        told += [str(error), repr(error), repr(error.args)]
        for frame, _ in traceback.walk_tb(error.__traceback__):
            # The frames of the test know the secret; those of the product are under test.
            if not Path(frame.f_code.co_filename).is_relative_to(TESTS):
                told += map(repr, frame.f_locals.values())
        error = error.__cause__ or error.__context__
    return "\n".join(told)


def _keyring() -> Keyring:
    root = RootKey(1, SecretBytes(KEY))
    return Keyring.unlock(VAULT, _records(root), root)


def _short_key() -> None:
    root = RootKey(1, SecretBytes(KEY))
    record = KeyRecord(KeyKind.WRAPPING, "", 1, KeyState.ACTIVE, b"")
    Keyring.unlock(
        VAULT,
        [replace(record, wrapped=root.wrap(SecretBytes(KEY[:-1]), root_context(VAULT, record)))],
        root,
    )


def _another_root() -> None:
    Keyring.unlock(VAULT, _records(RootKey(1, SecretBytes(KEY))), RootKey(1, generate_data_key()))


def _another_state() -> None:
    epoch = _keyring().active_epoch()
    epoch.unwrap(Binding(1, 1, 1), epoch.wrap(Binding(1, 1, 0), bytes(12), SecretBytes(KEY)))


def _wrong_password() -> None:
    passwords = Passwords(CHEAP)
    passwords.verify(passwords.hash(SecretText("another")), SecretText(TEXT))


def _wrong_credential() -> None:
    _keyring().sessions.check_credential(SecretText(TEXT), bytes(32))


def _forged_access_token() -> None:
    sessions = _keyring().sessions
    good = sessions.issue_access_token(bytes(16), issued=1, expires=9).expose()
    sessions.open_access_token(good[:-2] + ("00" if good[-2:] != "00" else "11"), at=2)


def _other_identity() -> None:
    file = io.BytesIO()
    Recipients([new_identity()[1]]).seal([b"values"], file)
    Identities([new_identity()[0]]).open(io.BytesIO(file.getvalue()), lambda _piece: None)


REFUSALS: dict[str, Callable[[], Any]] = {
    "a key of another length": _short_key,
    "another root key": _another_root,
    "another root key of the same version": lambda: RootKey(1, SecretBytes(KEY)).require_same(
        RootKey(1, generate_data_key())
    ),
    "a data key in another state": _another_state,
    "a data key of another length": lambda: (
        _keyring().active_epoch().wrap(Binding(1, 1, 0), bytes(12), SecretBytes(KEY[:-1]))
    ),
    "another owner": lambda: _keyring().staff_data.open(
        "totp", "b", _keyring().staff_data.seal("totp", "a", nonce=bytes(12), data=SecretBytes(KEY))
    ),
    "a log key without a name": lambda: SigningKey("", SecretBytes(KEY)),
    "a log key of another length": lambda: SigningKey("log", SecretBytes(KEY[:-1])),
    "a wrong password": _wrong_password,
    "a wrong client secret": _wrong_credential,
    "an identity that is none": lambda: Identities([SecretText(f"AGE-SECRET-KEY-1{TEXT}")]),
    "an identity of somebody else": _other_identity,
    "a share that is none": lambda: ShareCollector().add(SecretText(TEXT)),
}


@pytest.mark.parametrize("refused", REFUSALS)
def test_no_refusal_has_it_in_its_text_or_in_reach_of_a_reporter(refused: str) -> None:
    with pytest.raises(KeysError) as caught:
        REFUSALS[refused]()
    assert _told(_report(caught.value)) == []


def test_a_forged_access_token_is_not_answered_with_the_code_that_would_be_good() -> None:
    with pytest.raises(KeysError) as caught:
        _forged_access_token()
    good = _keyring().sessions.issue_access_token(bytes(16), issued=1, expires=9).expose()
    code = bytes.fromhex(good[-64:])
    assert repr(code) not in _report(caught.value)


def test_the_reporter_finds_what_is_in_its_reach() -> None:
    """The control: a client secret in a local variable of a frame is seen."""

    def fails(text: str) -> None:
        raise KeysError(text[:2])

    fails.__code__ = fails.__code__.replace(co_filename="/elsewhere.py")
    with pytest.raises(KeysError) as caught:
        fails(KEY.decode())
    assert _told(_report(caught.value)) == [FORMS[0]]
    assert generate_client_secret().expose() not in _report(caught.value)
