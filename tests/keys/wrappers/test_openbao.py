"""The transit engine as holder of the root key, against a real server."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keys.errors import DecryptionError, KeysError, MalformedError, WrapperUnavailableError
from keys.secret import SecretBytes, SecretText
from keys.wrappers import KeyWrapper
from keys.wrappers.openbao import OpenBaoWrapper
from tests.support.openbao import BINARY_VARIABLE, NoOpenBaoError, OpenBaoServer

PLAINTEXT = bytes(range(200, 232))
CONTEXT = b"\x00\x05vault\x00\x0ewrapping//1\xff"


def secret() -> SecretBytes:
    return SecretBytes(PLAINTEXT)


def wrapper_of(server: OpenBaoServer, key: str, token: str = "", **options: Any) -> OpenBaoWrapper:
    own = SecretText(token or server.make_token(key))
    return OpenBaoWrapper(address=server.address, key_name=key, token=own, **options)


def refusal_of(wrapper: OpenBaoWrapper, wrapped: bytes) -> WrapperUnavailableError:
    with pytest.raises(WrapperUnavailableError) as caught:
        wrapper.unwrap(wrapped, CONTEXT)
    return caught.value


def wrap_refusal_of(wrapper: OpenBaoWrapper) -> WrapperUnavailableError:
    with pytest.raises(WrapperUnavailableError) as caught:
        wrapper.wrap(secret(), CONTEXT)
    return caught.value


def changed(wrapped: bytes, start: int, end: int, put: bytes) -> bytes:
    return wrapped[:start] + put + wrapped[end:]


def with_bit_flipped(wrapped: bytes, position: int) -> bytes:
    sealed = bytearray(base64.b64decode(wrapped[10:]))
    sealed[position] ^= 1
    return wrapped[:10] + base64.b64encode(sealed)


@pytest.fixture
def key(openbao: OpenBaoServer) -> str:
    return openbao.make_key()


@pytest.fixture
def wrapper(openbao: OpenBaoServer, key: str) -> OpenBaoWrapper:
    return wrapper_of(openbao, key)


@pytest.fixture
def team(openbao: OpenBaoServer) -> Iterator[str]:
    openbao.call("POST", "sys/namespaces/team")
    yield "team"
    openbao.call("DELETE", "sys/namespaces/team")


@pytest.mark.parametrize("kind", ["aes256-gcm96", "chacha20-poly1305"])
def test_opens_what_it_wrapped(openbao: OpenBaoServer, kind: str) -> None:
    key = openbao.make_key(kind)
    wrapper: KeyWrapper = wrapper_of(openbao, key)
    wrapped = wrapper.wrap(secret(), CONTEXT)
    assert wrapper_of(openbao, key).unwrap(wrapped, CONTEXT).expose() == PLAINTEXT


def test_wraps_under_a_version_byte_in_ninety_bytes(wrapper: OpenBaoWrapper) -> None:
    wrapped = wrapper.wrap(secret(), CONTEXT)
    assert wrapped.startswith(b"\x03vault:v1:")
    assert len(wrapped) == 90


def test_wraps_never_alike(wrapper: OpenBaoWrapper) -> None:
    assert wrapper.wrap(secret(), CONTEXT) != wrapper.wrap(secret(), CONTEXT)


@pytest.mark.parametrize("plaintext", [b"", b"\x00" * 5000], ids=["empty", "long"])
@pytest.mark.parametrize("context", [b"", b"\x00", b"c" * 5000], ids=["empty", "zero", "long"])
def test_takes_any_length(wrapper: OpenBaoWrapper, plaintext: bytes, context: bytes) -> None:
    wrapped = wrapper.wrap(SecretBytes(plaintext), context)
    assert wrapper.unwrap(wrapped, context).expose() == plaintext


def test_serves_under_another_mount_and_namespace(openbao: OpenBaoServer, team: str) -> None:
    inside = {"X-Vault-Namespace": team}
    openbao.call("POST", "sys/mounts/deep/mount", {"type": "transit"}, headers=inside)
    openbao.call("POST", "deep/mount/keys/root", {"type": "aes256-gcm96"}, headers=inside)
    wrapper = wrapper_of(openbao, "root", openbao.root_token, mount="deep/mount", namespace=team)
    assert wrapper.unwrap(wrapper.wrap(secret(), CONTEXT), CONTEXT).expose() == PLAINTEXT
    assert wrapper.describe().endswith(" team/deep/mount/keys/root")


def test_description_names_server_and_key(openbao: OpenBaoServer, wrapper: OpenBaoWrapper, key: str) -> None:
    assert wrapper.describe() == f"OpenBao transit {openbao.address} transit/keys/{key}"
    assert repr(wrapper) == f"<{wrapper.describe()}>"


@pytest.mark.parametrize("context", [b"", CONTEXT[:-1], CONTEXT + b"\x00", CONTEXT.swapcase()])
def test_refuses_another_context(wrapper: OpenBaoWrapper, context: bytes) -> None:
    wrapped = wrapper.wrap(secret(), CONTEXT)
    with pytest.raises(DecryptionError):
        wrapper.unwrap(wrapped, context)


@pytest.mark.parametrize("kind", ["aes256-gcm96", "chacha20-poly1305"])
def test_refuses_what_another_key_wrapped(openbao: OpenBaoServer, wrapper: OpenBaoWrapper, kind: str) -> None:
    other = wrapper_of(openbao, openbao.make_key(kind))
    with pytest.raises(DecryptionError):
        wrapper.unwrap(other.wrap(secret(), CONTEXT), CONTEXT)


@pytest.mark.parametrize("position", [0, 11, 12, 43, 44, 59], ids=lambda position: f"byte{position}")
def test_refuses_a_flipped_bit(wrapper: OpenBaoWrapper, position: int) -> None:
    wrapped = with_bit_flipped(wrapper.wrap(secret(), CONTEXT), position)
    with pytest.raises(DecryptionError):
        wrapper.unwrap(wrapped, CONTEXT)


@pytest.mark.parametrize(
    ("start", "end", "put"),
    [
        pytest.param(0, 90, b"", id="nothing"),
        pytest.param(0, 1, b"", id="no version byte"),
        pytest.param(0, 1, b"\x01", id="version byte of the key file"),
        pytest.param(1, 6, b"bault", id="another prefix"),
        pytest.param(1, 90, b"", id="the version byte alone"),
        pytest.param(8, 9, b"2", id="a version not there yet"),
        pytest.param(8, 9, b"9999999999", id="a version far away"),
        pytest.param(8, 9, b"99999999999999999999", id="a version that is no number"),
        pytest.param(8, 9, b"0", id="the server takes version 0 for 1"),
        pytest.param(8, 9, b"01", id="the server takes version 01 for 1"),
        pytest.param(8, 9, b"+1", id="the server takes version +1 for 1"),
        pytest.param(8, 9, b"-1", id="a version below 0"),
        pytest.param(8, 9, b"\xd9\xa1", id="a digit that is not ASCII"),
        pytest.param(10, 90, b"", id="no ciphertext"),
        pytest.param(10, 90, b"AAAA", id="a short ciphertext"),
        pytest.param(10, 90, b"A" * 80, id="zeros"),
        pytest.param(10, 14, b"", id="the beginning cut off"),
        pytest.param(86, 90, b"", id="the end cut off"),
        pytest.param(89, 90, b"", id="no whole base64"),
        pytest.param(90, 90, b"AAAA", id="longer"),
        pytest.param(90, 90, b"\n", id="the server takes a line feed"),
        pytest.param(90, 90, b"=", id="filled up too far"),
        pytest.param(20, 20, b"\n", id="a line feed inside"),
        pytest.param(20, 21, b"-", id="not of the alphabet"),
        pytest.param(20, 21, b"\xff", id="not ASCII"),
        pytest.param(90, 90, b":AAAA", id="a field more"),
    ],
)
def test_refuses_a_tampered_form(wrapper: OpenBaoWrapper, start: int, end: int, put: bytes) -> None:
    wrapped = changed(wrapper.wrap(secret(), CONTEXT), start, end, put)
    with pytest.raises(DecryptionError):
        wrapper.unwrap(wrapped, CONTEXT)
    with pytest.raises(DecryptionError):
        wrapper.unwrap(wrapped, b"")


@pytest.mark.parametrize("end", [b"==\n", b"=\n=", None], ids=["line feed", "inside", "stray bits"])
def test_refuses_another_end_of_base64_that_the_server_takes(
    openbao: OpenBaoServer, wrapper: OpenBaoWrapper, key: str, end: bytes | None
) -> None:
    wrapped = wrapper.wrap(SecretBytes(PLAINTEXT[:24]), CONTEXT)
    assert wrapped.endswith(b"==")
    last = wrapped[-3]  # One of A, Q, g and w: the bits that do not count are 0.
    other = wrapped[:-3] + bytes([last + 1]) + b"==" if end is None else wrapped[:-2] + end
    asked = {"ciphertext": other[1:].decode(), "associated_data": base64.b64encode(CONTEXT).decode()}
    assert openbao.request("POST", f"transit/decrypt/{key}", asked).status_code == 200
    with pytest.raises(DecryptionError):
        wrapper.unwrap(other, CONTEXT)


def test_old_version_opens_after_rotation_and_wants_to_be_wrapped_anew(
    openbao: OpenBaoServer, wrapper: OpenBaoWrapper, key: str
) -> None:
    old = wrapper.wrap(secret(), CONTEXT)
    assert wrapper.current_version() == 1
    assert not wrapper.rewrap_needed(old)
    openbao.rotate(key)
    assert wrapper.current_version() == 2
    assert wrapper.rewrap_needed(old)
    new = wrapper.wrap(wrapper.unwrap(old, CONTEXT), CONTEXT)
    assert new.startswith(b"\x03vault:v2:")
    assert not wrapper.rewrap_needed(new)
    assert wrapper.unwrap(new, CONTEXT).expose() == PLAINTEXT
    with pytest.raises(DecryptionError):
        wrapper.unwrap(changed(new, 8, 9, b"1"), CONTEXT)


def test_version_of_what_no_wrapper_returned_is_not_told(wrapper: OpenBaoWrapper) -> None:
    with pytest.raises(DecryptionError):
        wrapper.rewrap_needed(b"\x01vault:v1:AAAA")


@pytest.mark.parametrize("trimmed", [False, True], ids=["disallowed", "trimmed"])
def test_tells_a_removed_version_from_tampering(
    openbao: OpenBaoServer, wrapper: OpenBaoWrapper, key: str, *, trimmed: bool
) -> None:
    old = wrapper.wrap(secret(), CONTEXT)
    openbao.rotate(key)
    openbao.configure(key, min_decryption_version=2, min_encryption_version=2)
    if trimmed:
        openbao.call("POST", f"transit/keys/{key}/trim", {"min_available_version": 2})
    assert refusal_of(wrapper, old).rule == "version_removed"
    assert wrapper.rewrap_needed(old)
    wrapped = wrapper.wrap(secret(), CONTEXT)
    assert wrapper.unwrap(wrapped, CONTEXT).expose() == PLAINTEXT


def test_version_allowed_again_opens(openbao: OpenBaoServer, wrapper: OpenBaoWrapper, key: str) -> None:
    old = wrapper.wrap(secret(), CONTEXT)
    openbao.rotate(key)
    openbao.configure(key, min_decryption_version=2)
    assert refusal_of(wrapper, old).rule == "version_removed"
    openbao.configure(key, min_decryption_version=1)
    assert wrapper.unwrap(old, CONTEXT).expose() == PLAINTEXT


def test_deleted_key_is_missing(openbao: OpenBaoServer, wrapper: OpenBaoWrapper, key: str) -> None:
    wrapped = wrapper.wrap(secret(), CONTEXT)
    openbao.delete(key)
    assert refusal_of(wrapper, wrapped).rule == "missing_key"
    assert wrap_refusal_of(wrapper).rule == "missing_key"


def test_softly_deleted_key_is_missing_until_restored(
    openbao: OpenBaoServer, wrapper: OpenBaoWrapper, key: str
) -> None:
    wrapped = wrapper.wrap(secret(), CONTEXT)
    openbao.call("DELETE", f"transit/keys/{key}/soft-delete")
    assert refusal_of(wrapper, wrapped).rule == "missing_key"
    assert wrap_refusal_of(wrapper).rule == "missing_key"
    openbao.call("POST", f"transit/keys/{key}/soft-delete-restore")
    assert wrapper.unwrap(wrapped, CONTEXT).expose() == PLAINTEXT


def test_key_made_anew_under_the_name_of_a_deleted_one_opens_nothing(
    openbao: OpenBaoServer, wrapper: OpenBaoWrapper, key: str
) -> None:
    old = wrapper.wrap(secret(), CONTEXT)
    openbao.rotate(key)
    newer = wrapper.wrap(secret(), CONTEXT)
    openbao.delete(key)
    openbao.call("POST", f"transit/keys/{key}", {"type": "aes256-gcm96"})
    for wrapped in (old, newer):
        with pytest.raises(DecryptionError):
            wrapper.unwrap(wrapped, CONTEXT)


def test_makes_no_missing_key_with_a_token_that_could(openbao: OpenBaoServer) -> None:
    wrapper = wrapper_of(openbao, "never-made", openbao.root_token)
    assert wrap_refusal_of(wrapper).rule == "missing_key"
    assert openbao.request("GET", "transit/keys/never-made").status_code == 404


def test_stores_no_plaintext_in_an_engine_of_another_kind(openbao: OpenBaoServer) -> None:
    openbao.call("POST", "sys/mounts/store", {"type": "kv"})
    wrapper = wrapper_of(openbao, "root", openbao.root_token, mount="store")
    assert wrap_refusal_of(wrapper).rule == "missing_key"
    assert openbao.request("GET", "store/encrypt/root").status_code == 404


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("aes128-gcm96", {}),
        ("xchacha20-poly1305", {}),
        ("rsa-2048", {}),
        ("ed25519", {}),
        ("hmac", {"key_size": 32}),
        ("aes256-gcm96", {"derived": True}),
        ("aes256-gcm96", {"derived": True, "convergent_encryption": True}),
    ],
)
def test_refuses_a_key_of_another_type(openbao: OpenBaoServer, kind: str, options: dict[str, Any]) -> None:
    wrapper = wrapper_of(openbao, openbao.make_key(kind, **options))
    assert wrap_refusal_of(wrapper).rule == "key_type"


@pytest.mark.parametrize(("kind", "options"), [("rsa-2048", {}), ("aes256-gcm96", {"derived": True})])
def test_does_not_unwrap_with_a_key_that_ignores_contexts(
    openbao: OpenBaoServer, wrapper: OpenBaoWrapper, kind: str, options: dict[str, Any]
) -> None:
    wrapped = wrapper.wrap(secret(), CONTEXT)
    other = wrapper_of(openbao, openbao.make_key(kind, **options))
    assert refusal_of(other, wrapped).rule == "key_type"


def test_missing_mount_and_namespace_are_told_apart(
    openbao: OpenBaoServer, wrapper: OpenBaoWrapper, key: str
) -> None:
    wrapped = wrapper.wrap(secret(), CONTEXT)
    root = openbao.root_token
    assert refusal_of(wrapper_of(openbao, key, root, mount="none"), wrapped).rule == "missing_mount"
    assert refusal_of(wrapper_of(openbao, key, root, mount="sys"), wrapped).rule == "missing_mount"
    assert refusal_of(wrapper_of(openbao, key, root, namespace="none"), wrapped).rule == "missing_namespace"


def test_token_of_another_key_is_denied(openbao: OpenBaoServer, wrapper: OpenBaoWrapper, key: str) -> None:
    wrapped = wrapper.wrap(secret(), CONTEXT)
    other = wrapper_of(openbao, key, openbao.make_token(openbao.make_key()))
    assert refusal_of(other, wrapped).rule == "denied"
    assert "get a new token" in refusal_of(other, wrapped).hint
    assert wrap_refusal_of(other).rule == "denied"


def test_token_that_never_was_one_is_denied(openbao: OpenBaoServer, key: str) -> None:
    assert wrap_refusal_of(wrapper_of(openbao, key, "s.nobodys")).rule == "denied"


def test_token_that_may_seal_and_not_open_wraps_nothing(openbao: OpenBaoServer, key: str) -> None:
    rules = f'path "transit/encrypt/{key}" {{ capabilities = ["update"] }}\n'
    rules += f'path "transit/keys/{key}" {{ capabilities = ["read"] }}'
    openbao.call("PUT", "sys/policies/acl/half", {"policy": rules})
    told = openbao.call("POST", "auth/token/create", {"policies": ["half"]})
    wrapper = wrapper_of(openbao, key, told["auth"]["client_token"])
    assert wrap_refusal_of(wrapper).rule == "denied"


def test_revoked_token_is_denied(openbao: OpenBaoServer, key: str) -> None:
    token = openbao.make_token(key)
    wrapper = wrapper_of(openbao, key, token)
    wrapped = wrapper.wrap(secret(), CONTEXT)
    openbao.call("POST", "auth/token/revoke", {"token": token})
    assert refusal_of(wrapper, wrapped).rule == "denied"
    with pytest.raises(WrapperUnavailableError) as caught:
        wrapper.renew()
    assert caught.value.rule == "denied"


def test_token_lives_past_its_first_end_when_renewed_and_no_longer(openbao: OpenBaoServer, key: str) -> None:
    wrapper = wrapper_of(openbao, key, openbao.make_token(key, ttl="3s"))
    wrapped = wrapper.wrap(secret(), CONTEXT)
    for _ in range(3):
        assert wrapper.renew() == 1
        time.sleep(1.1)
    assert wrapper.unwrap(wrapped, CONTEXT).expose() == PLAINTEXT
    time.sleep(3.2)
    assert refusal_of(wrapper, wrapped).rule == "denied"
    with pytest.raises(WrapperUnavailableError) as caught:
        wrapper.renew()
    assert caught.value.rule == "denied"


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        pytest.param({"ttl": "1h"}, {1800}, id="usual"),
        pytest.param({"ttl": "3s"}, {1}, id="short"),
        pytest.param({"period": "10m"}, {300}, id="periodic"),
        pytest.param({"ttl": "1h", "explicit_max_ttl": "100s"}, {49, 50}, id="about to end for good"),
        pytest.param({"ttl": "1h", "renewable": False}, {1799, 1800}, id="not renewable"),
        pytest.param({"ttl": "1h", "type": "batch"}, {1799, 1800}, id="batch"),
    ],
)
def test_renewal_is_due_after_half_of_what_is_left(
    openbao: OpenBaoServer, key: str, options: dict[str, Any], seconds: set[int]
) -> None:
    assert wrapper_of(openbao, key, openbao.make_token(key, **options)).renew() in seconds


def test_token_without_an_end_needs_no_renewal(openbao: OpenBaoServer, key: str) -> None:
    assert wrapper_of(openbao, key, openbao.root_token).renew() == 0


def test_token_that_may_look_and_not_renew_itself_is_denied(openbao: OpenBaoServer, key: str) -> None:
    rules = 'path "auth/token/lookup-self" { capabilities = ["read"] }'
    openbao.call("PUT", "sys/policies/acl/looking", {"policy": rules})
    asked = {"policies": ["looking"], "no_default_policy": True}
    token = openbao.call("POST", "auth/token/create", asked)["auth"]["client_token"]
    with pytest.raises(WrapperUnavailableError) as caught:
        wrapper_of(openbao, key, token).renew()
    assert caught.value.rule == "denied"


def test_sealed_server_is_told_and_serves_again_once_unsealed(own_openbao: OpenBaoServer) -> None:
    wrapper = wrapper_of(own_openbao, own_openbao.make_key())
    wrapped = wrapper.wrap(secret(), CONTEXT)
    own_openbao.seal()
    assert refusal_of(wrapper, wrapped).rule == "sealed"
    assert wrap_refusal_of(wrapper).rule == "sealed"
    with pytest.raises(WrapperUnavailableError) as caught:
        wrapper.renew()
    assert caught.value.rule == "sealed"
    own_openbao.unseal()
    assert wrapper.unwrap(wrapped, CONTEXT).expose() == PLAINTEXT


def test_server_that_stops_is_unreachable_and_found_again() -> None:
    with OpenBaoServer(durable=True) as server:
        wrapper = wrapper_of(server, server.make_key())
        wrapped = wrapper.wrap(secret(), CONTEXT)
        server.stop()
        assert refusal_of(wrapper, wrapped).rule == "unreachable"
        server.start()
        assert refusal_of(wrapper, wrapped).rule == "sealed"
        server.unseal()
        assert wrapper.unwrap(wrapped, CONTEXT).expose() == PLAINTEXT


KEY_NAMES = ("", ".", "..", "a/b", "a/../b", "a?b", "a#b", "a%2fb", "a b", "a\n", ".a", "a.", "-a", "키")
MOUNTS = ("", "/", "a/", "/a", "a//b", "a/../b", "../sys", "a/.", "a?b", "a\\b", "a\n")
NAMESPACES = ("", "/", "a\r\nX: y", "é")


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        *(("key_name", name) for name in KEY_NAMES),
        *(("mount", name) for name in MOUNTS),
        *(("namespace", name) for name in NAMESPACES),
    ],
)
def test_refuses_a_name_that_leads_elsewhere(rule: str, name: str) -> None:
    given: dict[str, Any] = {"address": "http://127.0.0.1:1", "key_name": "root"} | {rule: name}
    with pytest.raises(MalformedError) as caught:
        OpenBaoWrapper(token=SecretText("s.x"), **given)
    assert caught.value.rule == rule


@pytest.mark.parametrize("name", ["a", "A_b-c.9", "piivault-root", "_"])
def test_takes_a_name_of_the_server(name: str) -> None:
    wrapper = OpenBaoWrapper(
        address="http://127.0.0.1:1", key_name=name, mount=f"{name}/{name}", token=SecretText("s.x")
    )
    assert isinstance(wrapper, OpenBaoWrapper)


def test_every_refusal_belongs_to_the_tree(openbao: OpenBaoServer, key: str) -> None:
    error = wrap_refusal_of(wrapper_of(openbao, key, "s.nobodys"))
    assert isinstance(error, KeysError)
    assert error.message == f"OpenBao transit {openbao.address} transit/keys/{key} (status 403)"


def test_missing_server_fails_and_skips_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(BINARY_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(NoOpenBaoError, match="no program bao"):
        OpenBaoServer()
