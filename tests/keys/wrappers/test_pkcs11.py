"""Against a real SoftHSM2. Where it cannot misbehave as other modules do, the binding is bent to say so."""

from __future__ import annotations

import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass, TokenFlag
from pkcs11.types import Session

from keys.errors import DecryptionError, WrapperUnavailableError
from keys.secret import SecretBytes, SecretText
from keys.wrappers import KeyWrapper
from keys.wrappers.pkcs11 import Pkcs11Wrapper
from tests.support import softhsm as support
from tests.support.softhsm import MODULE_VARIABLE, NoSoftHsmError, SoftHsm, SoftToken, find_module, make_key

KEY = SecretBytes(b"canary-canary-canary-canary-key!")
CONTEXT = b"piivault/root-wrap/v1"
USE = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
IN_TOKEN = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}


def create(token: SoftToken, label: str = "root") -> Pkcs11Wrapper:
    make_key(token, label)
    return opened(token, label)


def opened(token: SoftToken, label: str = "root", pin: str | None = None) -> Pkcs11Wrapper:
    return Pkcs11Wrapper(token.module, token.label, label, token.pin if pin is None else SecretText(pin))


def destroy(token: SoftToken, label: str = "root") -> bool:
    return Pkcs11Wrapper.destroy_key(token.module, token.label, label, token.pin)


def refused(use: Callable[[], object]) -> WrapperUnavailableError:
    with pytest.raises(WrapperUnavailableError) as caught:
        use()
    return caught.value


def logged_in(token: SoftToken) -> Session:
    found = pkcs11.lib(str(token.module)).get_token(token_label=token.label)
    return found.open(rw=True, user_pin=token.pin.expose())


def make(token: SoftToken, use: MechanismFlag = USE, bits: int = 256, **template: bool) -> None:
    """Put a key into the token that we would not make."""
    given = IN_TOKEN | {Attribute[name]: value for name, value in template.items()}
    with logged_in(token) as session:
        session.generate_key(KeyType.AES, bits, label="root", store=True, capabilities=use, template=given)


@pytest.fixture
def wrapper(soft_token: SoftToken) -> Pkcs11Wrapper:
    return create(soft_token)


@pytest.fixture
def restarted(softhsm: SoftHsm) -> Iterator[SoftHsm]:
    """SoftHSM, for a test after which it has to be started anew."""
    yield softhsm
    softhsm.restart()


# Sealing


def test_opens_what_it_sealed(soft_token: SoftToken) -> None:
    made: KeyWrapper = create(soft_token)
    again: KeyWrapper = opened(soft_token)
    assert again.unwrap(made.wrap(KEY, CONTEXT), CONTEXT).expose() == KEY.expose()


def test_sealed_key_has_version_iv_ciphertext_and_tag(wrapper: Pkcs11Wrapper) -> None:
    one, other = wrapper.wrap(KEY, CONTEXT), wrapper.wrap(KEY, CONTEXT)
    assert len(one) == 61
    assert one[:1] == b"\x04"
    assert one[1:13] != other[1:13]
    assert KEY.expose() not in one


def test_seals_as_the_standard_says(soft_token: SoftToken) -> None:
    """A key known to both opens with another implementation of AES-GCM."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from keys.wrappers import pkcs11 as module

    known = {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: KeyType.AES,
        Attribute.VALUE: bytes(32),
    }
    with logged_in(soft_token) as session:
        key: Any = session.create_object(known | {Attribute.ENCRYPT: True, Attribute.DECRYPT: True})
        iv = bytes(range(12))
        sealed = key.encrypt(KEY.expose(), **module._gcm(iv, CONTEXT))
    assert sealed == AESGCM(bytes(32)).encrypt(iv, KEY.expose(), CONTEXT)


@pytest.mark.parametrize("context", [b"", b"piivault/root-wrap/v2", CONTEXT + b"\x00", CONTEXT[:-1]])
def test_refuses_another_context(wrapper: Pkcs11Wrapper, context: bytes) -> None:
    sealed = wrapper.wrap(KEY, CONTEXT)
    with pytest.raises(DecryptionError):
        wrapper.unwrap(sealed, context)


def test_empty_context_is_a_context(wrapper: Pkcs11Wrapper) -> None:
    assert wrapper.unwrap(wrapper.wrap(KEY, b""), b"").expose() == KEY.expose()


def test_refuses_what_another_key_sealed(soft_token: SoftToken, softhsm: SoftHsm) -> None:
    sealed = create(soft_token).wrap(KEY, CONTEXT)
    for other in (create(soft_token, "other"), create(softhsm.create_token())):
        with pytest.raises(DecryptionError):
            other.unwrap(sealed, CONTEXT)


def test_refuses_a_change_at_every_position(wrapper: Pkcs11Wrapper) -> None:
    sealed = wrapper.wrap(KEY, CONTEXT)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(DecryptionError):
            wrapper.unwrap(bytes(changed), CONTEXT)


def test_refuses_every_other_length(wrapper: Pkcs11Wrapper) -> None:
    sealed = wrapper.wrap(KEY, CONTEXT)
    for changed in (*(sealed[:length] for length in range(len(sealed))), sealed + b"\x00"):
        with pytest.raises(DecryptionError):
            wrapper.unwrap(changed, CONTEXT)


def test_threads_share_a_wrapper(soft_token: SoftToken) -> None:
    """Two wrappers of one token too, which one login of the process would set against each other."""
    wrappers = (create(soft_token), opened(soft_token), create(soft_token, "other"))
    together = threading.Barrier(6)

    def seal_and_open(number: int) -> bool:
        together.wait()
        wrapper, context = wrappers[number % 3], b"%d" % number
        return all(
            wrapper.unwrap(wrapper.wrap(KEY, context), context).expose() == KEY.expose() for _ in range(20)
        )

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(seal_and_open, range(6)))


# The key


def test_refuses_missing_key(soft_token: SoftToken) -> None:
    create(soft_token)
    assert refused(lambda: opened(soft_token, "another")).rule == "missing_key"


def test_refuses_two_keys_of_one_label(soft_token: SoftToken) -> None:
    create(soft_token)
    make(soft_token)
    assert refused(lambda: opened(soft_token)).rule == "ambiguous_key"


def test_checks_the_key_at_every_call(soft_token: SoftToken) -> None:
    wrapper = create(soft_token)
    make(soft_token)
    assert refused(lambda: wrapper.wrap(KEY, CONTEXT)).rule == "ambiguous_key"


@pytest.mark.parametrize(("sensitive", "extractable"), [(True, True), (False, False), (False, True)])
def test_refuses_key_that_may_leave(soft_token: SoftToken, *, sensitive: bool, extractable: bool) -> None:
    make(soft_token, SENSITIVE=sensitive, EXTRACTABLE=extractable)
    assert refused(lambda: opened(soft_token)).rule == "extractable"


def test_refuses_key_that_could_leave_once(soft_token: SoftToken) -> None:
    make(soft_token, EXTRACTABLE=True, SENSITIVE=False)
    with logged_in(soft_token) as session:
        (key,) = session.get_objects({Attribute.LABEL: "root"})
        key[Attribute.EXTRACTABLE] = False
        key[Attribute.SENSITIVE] = True
        assert not key[Attribute.EXTRACTABLE]
    assert refused(lambda: opened(soft_token)).rule == "extractable"


@pytest.mark.parametrize("bits", [128, 192])
def test_refuses_shorter_key(soft_token: SoftToken, bits: int) -> None:
    make(soft_token, bits=bits)
    assert refused(lambda: opened(soft_token)).rule == "key_type"


@pytest.mark.parametrize("use", [MechanismFlag.ENCRYPT, MechanismFlag.DECRYPT, MechanismFlag.WRAP])
def test_refuses_key_without_the_use(soft_token: SoftToken, use: MechanismFlag) -> None:
    make(soft_token, use)
    assert refused(lambda: opened(soft_token)).rule == "key_type"


def test_refuses_key_that_is_not_aes(soft_token: SoftToken) -> None:
    with logged_in(soft_token) as session:
        session.generate_key(KeyType.DES3, label="root", store=True, capabilities=USE, template=IN_TOKEN)
    assert refused(lambda: opened(soft_token)).rule == "key_type"


# Module and token


def test_refuses_missing_module(soft_token: SoftToken, tmp_path: Path) -> None:
    missing = tmp_path / "none.so"
    error = refused(lambda: Pkcs11Wrapper(missing, soft_token.label, "root", soft_token.pin))
    assert error.rule == "module"
    assert str(missing) in error.hint


@pytest.mark.parametrize("content", [b"", b"text\n"])
def test_refuses_file_that_is_no_module(soft_token: SoftToken, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "module.so").write_bytes(content)
    wrapper = lambda: Pkcs11Wrapper(tmp_path / "module.so", soft_token.label, "root", soft_token.pin)  # noqa: E731
    assert refused(wrapper).rule == "module"


def test_refuses_library_that_is_no_module(soft_token: SoftToken) -> None:
    library = Path(str(pkcs11._pkcs11.__file__))
    assert refused(lambda: Pkcs11Wrapper(library, soft_token.label, "root", soft_token.pin)).rule == "module"


def test_one_module_may_be_spelled_in_two_ways(soft_token: SoftToken, tmp_path: Path) -> None:
    sealed = create(soft_token).wrap(KEY, CONTEXT)
    link = tmp_path / "module.so"
    link.symlink_to(soft_token.module)
    other = Pkcs11Wrapper(link, soft_token.label, "root", soft_token.pin)
    assert other.unwrap(sealed, CONTEXT).expose() == KEY.expose()


def test_refuses_missing_token(soft_token: SoftToken) -> None:
    wrapper = lambda: Pkcs11Wrapper(soft_token.module, "another", "root", soft_token.pin)  # noqa: E731
    assert refused(wrapper).rule == "token_missing"


def test_refuses_two_tokens_of_one_label(softhsm: SoftHsm) -> None:
    twin = softhsm.create_token("twin")
    softhsm.create_token("twin")
    assert refused(lambda: opened(twin)).rule == "ambiguous_token"


def test_refuses_token_without_the_mechanism(soft_token: SoftToken, restarted: SoftHsm) -> None:
    create(soft_token)
    restarted.restart(mechanisms="CKM_AES_KEY_GEN,CKM_AES_CBC")
    assert refused(lambda: opened(soft_token)).rule == "mechanism"


def test_token_that_was_pulled_out_is_unreachable_until_put_back(
    soft_token: SoftToken, restarted: SoftHsm
) -> None:
    wrapper = create(soft_token)
    sealed = wrapper.wrap(KEY, CONTEXT)
    restarted.pull_out(soft_token)
    assert refused(lambda: wrapper.unwrap(sealed, CONTEXT)).rule == "unreachable"
    restarted.put_back(soft_token)
    assert wrapper.unwrap(sealed, CONTEXT).expose() == KEY.expose()


def test_works_on_after_the_module_lost_all_sessions(soft_token: SoftToken, restarted: SoftHsm) -> None:
    wrapper = create(soft_token)
    sealed = wrapper.wrap(KEY, CONTEXT)
    restarted.restart()
    assert wrapper.unwrap(sealed, CONTEXT).expose() == KEY.expose()


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_args: object, **_options: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        (pkcs11.DeviceRemoved(), "unreachable"),
        (pkcs11.SessionHandleInvalid(), "unreachable"),
        (pkcs11.GeneralError(), "unreachable"),
        (pkcs11.PKCS11Error("Unmapped error code 0x68"), "unreachable"),
        (pkcs11.MechanismInvalid(), "mechanism"),
        (pkcs11.MechanismParamInvalid(), "mechanism"),
        (pkcs11.FunctionNotSupported(), "mechanism"),
    ],
)
def test_names_what_fails_in_a_call(
    wrapper: Pkcs11Wrapper, monkeypatch: pytest.MonkeyPatch, error: Exception, rule: str
) -> None:
    """Bent: SoftHSM does not fail in these ways."""
    sealed = wrapper.wrap(KEY, CONTEXT)
    monkeypatch.setattr(pkcs11.types.EncryptMixin, "encrypt", failing(error))
    monkeypatch.setattr(pkcs11.types.DecryptMixin, "decrypt", failing(error))
    assert refused(lambda: wrapper.wrap(KEY, CONTEXT)).rule == rule
    assert refused(lambda: wrapper.unwrap(sealed, CONTEXT)).rule == rule
    monkeypatch.undo()
    assert wrapper.unwrap(sealed, CONTEXT).expose() == KEY.expose()


def test_token_that_opens_nothing_is_no_failed_decryption(
    wrapper: Pkcs11Wrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bent: a token that broke between sealing and opening."""
    sealed = wrapper.wrap(KEY, CONTEXT)
    monkeypatch.setattr(pkcs11.types.DecryptMixin, "decrypt", failing(pkcs11.GeneralError()))
    assert refused(lambda: wrapper.unwrap(sealed, CONTEXT)).rule == "mechanism"


def test_refuses_token_that_chooses_the_iv_itself(
    wrapper: Pkcs11Wrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bent: the IV is another one than we gave, as on AWS CloudHSM."""
    genuine = pkcs11.GCMParams
    monkeypatch.setattr(pkcs11, "GCMParams", lambda _iv, aad, bits: genuine(os.urandom(12), aad, bits))
    assert refused(lambda: wrapper.wrap(KEY, CONTEXT)).rule == "mechanism"


def test_refuses_token_that_appends_to_the_ciphertext(
    wrapper: Pkcs11Wrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bent: an IV behind the tag, as on a Luna under FIPS rules, which its own decryption takes off again."""
    encrypt, decrypt = pkcs11.types.EncryptMixin.encrypt, pkcs11.types.DecryptMixin.decrypt

    def append(key: Any, data: bytes, **options: Any) -> bytes:
        return bytes(encrypt(key, data, **options)) + bytes(12)  # type: ignore[arg-type]

    monkeypatch.setattr(pkcs11.types.EncryptMixin, "encrypt", append)
    monkeypatch.setattr(
        pkcs11.types.DecryptMixin, "decrypt", lambda key, data, **options: decrypt(key, data[:-12], **options)
    )
    assert refused(lambda: wrapper.wrap(KEY, CONTEXT)).rule == "mechanism"


def test_refuses_token_that_opens_something_else(
    wrapper: Pkcs11Wrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pkcs11.types.DecryptMixin, "decrypt", lambda *_args, **_options: bytes(32))
    assert refused(lambda: wrapper.wrap(KEY, CONTEXT)).rule == "mechanism"


def test_refuses_to_destroy_a_key_on_a_protected_token(
    soft_token: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bent: SoftHSM tokens have no such switch."""
    from keys.wrappers.cryptoki import Token

    monkeypatch.setattr(Token, "_login", failing(pkcs11.TokenWriteProtected()))
    assert refused(lambda: destroy(soft_token)).rule == "write_protected"


def test_reader_that_fails_does_not_hide_the_token(
    soft_token: SoftToken, softhsm: SoftHsm, restarted: SoftHsm
) -> None:
    other = softhsm.create_token()
    create(soft_token)
    restarted.pull_out(other)
    opened(soft_token)


def test_says_what_to_install(soft_token: SoftToken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11.exceptions", None)
    error = refused(lambda: opened(soft_token))
    assert error.rule == "not_installed"
    assert error.hint == 'pip install "piivault[pkcs11]"'


# The PIN


@pytest.mark.parametrize("pin", ["canary-pin-0000", "", "1", "9" * 300])
def test_refuses_wrong_pin(soft_token: SoftToken, pin: str) -> None:
    create(soft_token)
    error = refused(lambda: opened(soft_token, pin=pin))
    assert error.rule == "pin"
    assert "lock" in error.hint
    opened(soft_token)


def test_refuses_pin_that_is_no_text(soft_token: SoftToken) -> None:
    create(soft_token)
    error = refused(lambda: opened(soft_token, pin="canary-\udcff"))
    assert error.rule == "pin"
    assert leaks(error, "canary") == []


def test_pin_that_was_refused_is_not_tried_again(
    soft_token: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper = create(soft_token)
    monkeypatch.setattr(wrapper._token, "_pin", SecretText("canary-pin-0000"))
    assert refused(lambda: wrapper.wrap(KEY, CONTEXT)).rule == "pin"
    monkeypatch.undo()
    # The right one now: it would be taken, were it tried.
    assert refused(lambda: wrapper.wrap(KEY, CONTEXT)).rule == "pin"


def test_refuses_locked_pin(soft_token: SoftToken, restarted: SoftHsm) -> None:
    create(soft_token)
    restarted.set_flag(soft_token, TokenFlag.USER_PIN_LOCKED)
    assert refused(lambda: opened(soft_token)).rule == "pin_locked"


def test_spares_the_last_try_of_a_pin(soft_token: SoftToken, restarted: SoftHsm) -> None:
    create(soft_token)
    restarted.set_flag(soft_token, TokenFlag.USER_PIN_FINAL_TRY)
    assert refused(lambda: opened(soft_token)).rule == "pin_final_try"


def test_names_pin_that_locks_while_it_is_tried(
    wrapper: Pkcs11Wrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bent: SoftHSM never locks a PIN."""
    from keys.wrappers.cryptoki import Token

    monkeypatch.setattr(Token, "_login", failing(pkcs11.PinLocked()))
    assert refused(lambda: wrapper.wrap(KEY, CONTEXT)).rule == "pin_locked"
    monkeypatch.undo()
    assert refused(lambda: wrapper.wrap(KEY, CONTEXT)).rule == "pin_locked"


# Processes and secrets


def test_refuses_use_after_a_fork(soft_token: SoftToken) -> None:
    wrapper = create(soft_token)
    sealed = wrapper.wrap(KEY, CONTEXT)
    uses: list[Callable[[], object]] = [
        lambda: wrapper.wrap(KEY, CONTEXT),
        lambda: wrapper.unwrap(sealed, CONTEXT),
        lambda: opened(soft_token),
        lambda: destroy(soft_token),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # That other threads may be running.
        child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if [refused(use).rule for use in uses] == ["forked"] * 4 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert wrapper.unwrap(sealed, CONTEXT).expose() == KEY.expose()


def test_refuses_another_process_before_it_waits_for_the_lock(
    wrapper: Pkcs11Wrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of a fork may be held by a thread that is not there."""
    from keys.wrappers.cryptoki import _GATE

    with _GATE.lock, monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        assert refused(lambda: wrapper.wrap(KEY, CONTEXT)).rule == "forked"


def leaks(error: BaseException, *secrets: str) -> list[str]:
    """Return where an error shows a secret: its text, its chain, the locals of frames that are not ours."""
    shown, todo = ["".join(traceback.format_exception_only(error))], [error]
    while todo:
        one = todo.pop()
        shown += [repr(one), repr(vars(one)), repr(one.args)]
        for frame, _line in traceback.walk_tb(one.__traceback__):
            if frame.f_code.co_filename != __file__:
                for value in frame.f_locals.values():
                    with suppress(pkcs11.PKCS11Error):  # A key of a session that is over has no text.
                        shown.append(repr(value))
        todo += [other for other in (one.__cause__, one.__context__) if other is not None]
    return [text for text in shown if any(secret in text for secret in secrets)]


def test_description_names_token_and_key(soft_token: SoftToken) -> None:
    wrapper = create(soft_token)
    assert wrapper.describe() == f"PKCS#11 token {soft_token.label}, key root"
    assert repr(wrapper) == f"<{wrapper.describe()}>"
    assert wrapper.kind == "pkcs11"


def test_errors_show_neither_pin_nor_key(
    soft_token: SoftToken, monkeypatch: pytest.MonkeyPatch, restarted: SoftHsm
) -> None:
    wrapper = create(soft_token)
    errors = [
        refused(lambda: opened(soft_token, pin="canary-pin-0000")),
        refused(lambda: opened(soft_token, "another")),
    ]
    binding: Any = pkcs11._pkcs11
    monkeypatch.setattr(binding.EncryptMixin, "_encrypt", failing(pkcs11.DeviceError()))
    errors.append(refused(lambda: wrapper.wrap(KEY, CONTEXT)))
    monkeypatch.undo()
    restarted.pull_out(soft_token)
    errors.append(refused(lambda: wrapper.wrap(KEY, CONTEXT)))
    restarted.put_back(soft_token)
    assert [error.rule for error in errors] == ["pin", "missing_key", "unreachable", "unreachable"]
    assert [leak for error in errors for leak in leaks(error, "canary")] == []


# The server of these tests


def test_module_is_the_one_the_environment_names(softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODULE_VARIABLE, str(softhsm.module))
    monkeypatch.setattr(support, "_PLACES", ())
    assert find_module() == softhsm.module


def test_says_that_the_named_module_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODULE_VARIABLE, str(tmp_path / "none.so"))
    with pytest.raises(NoSoftHsmError, match=MODULE_VARIABLE):
        find_module()


def test_says_how_to_get_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MODULE_VARIABLE, raising=False)
    monkeypatch.setattr(support, "_PLACES", ())
    with pytest.raises(NoSoftHsmError, match="apt-get install softhsm2"):
        find_module()
