from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from keys.context import ValueContext
from keys.datakeys import Binding, WrappingKey, epoch_of
from keys.envelope import DataKey, StaffDataKey, StaffDataKeys, generation_of
from keys.lookup import LookupKey
from keys.padding import pad, unpad
from tests.keys.vectors import cases, load, refusal, secret, unhex

VECTORS = load("envelope")
VALUES = VECTORS["values"]
DATA_KEYS = VECTORS["data_keys"]
STAFF = VECTORS["staff_data"]


def place(case: dict[str, Any]) -> bytes:
    context = ValueContext(unhex(case["vault"]))
    return context.value(case["subject"], context.field_part(case["field"]), case["record"])


def gcm(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """AES-256-GCM from the cipher and its mode, not from the construction that is under test."""
    encryptor = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(associated)
    ciphertext = encryptor.update(plaintext) + encryptor.finalize()
    return ciphertext + encryptor.tag


@cases(VALUES["valid"])
def test_value_seals_to_the_vector_and_opens_again(case: dict[str, Any]) -> None:
    key = DataKey(case["generation"], secret(case["key"]))
    context = place(case)
    assert context.hex() == case["associated"]
    padded = pad(case["value"], (case["bucket"],))
    assert padded.hex() == case["padded"]
    envelope = key.seal(context, unhex(case["nonce"]), padded)
    assert envelope.hex() == case["envelope"]
    assert unpad(key.open(context, envelope)) == case["value"]
    assert generation_of(envelope) == case["generation"]


@cases(VALUES["valid"])
def test_value_vector_follows_from_primitives(case: dict[str, Any]) -> None:
    header = b"\x01" + case["generation"].to_bytes(4, "big") + unhex(case["nonce"])
    sealed = gcm(unhex(case["key"]), unhex(case["nonce"]), unhex(case["padded"]), unhex(case["associated"]))
    assert (header + sealed).hex() == case["envelope"]


@cases(VALUES["malformed"])
def test_refuses_malformed_or_moved_value(case: dict[str, Any]) -> None:
    key = DataKey(case["generation"], secret(case["key"]))
    with refusal(case):
        key.open(place(case), unhex(case["envelope"]))


@cases(VALUES["malformed_headers"])
def test_refuses_header_without_generation(case: dict[str, Any]) -> None:
    with refusal(case):
        generation_of(unhex(case["envelope"]))


@cases(VECTORS["padding"]["malformed"])
def test_refuses_malformed_padding(case: dict[str, Any]) -> None:
    with refusal({**case, "error": "MalformedError"}):
        unpad(unhex(case["padded"]))


@cases(VECTORS["padding"]["too_long"])
def test_refuses_text_longer_than_its_buckets(case: dict[str, Any]) -> None:
    with refusal({**case, "error": "MalformedError"}):
        pad("x" * case["length"], case["buckets"])


def binding_of(case: dict[str, Any]) -> Binding:
    return Binding(case["subject"], case["generation"], case["state"])


def wrapping_key(case: dict[str, Any]) -> WrappingKey:
    return WrappingKey(unhex(case["vault"]), case["epoch"], secret(case["key"]), active=True)


@cases(DATA_KEYS["valid"])
def test_data_key_wraps_to_the_vector_and_unwraps_again(case: dict[str, Any]) -> None:
    epoch = wrapping_key(case)
    wrapped = epoch.wrap(binding_of(case), unhex(case["nonce"]), secret(case["data_key"]))
    assert wrapped.hex() == case["wrapped"]
    assert epoch_of(wrapped) == case["epoch"]
    key = epoch.unwrap(binding_of(case), wrapped)
    assert key.generation == case["generation"]
    same = DataKey(case["generation"], secret(case["data_key"]))
    assert key.open(b"place", same.seal(b"place", bytes(12), b"\0\0")) == b"\0\0"


@cases(DATA_KEYS["valid"])
def test_data_key_vector_follows_from_primitives(case: dict[str, Any]) -> None:
    header = b"\x01" + case["epoch"].to_bytes(4, "big") + unhex(case["nonce"])
    sealed = gcm(unhex(case["key"]), unhex(case["nonce"]), unhex(case["data_key"]), unhex(case["associated"]))
    assert (header + sealed).hex() == case["wrapped"]


@cases(DATA_KEYS["malformed"])
def test_refuses_malformed_or_moved_data_key(case: dict[str, Any]) -> None:
    with refusal(case):
        wrapping_key(case).unwrap(binding_of(case), unhex(case["wrapped"]))


@cases(DATA_KEYS["malformed_headers"])
def test_refuses_header_without_epoch(case: dict[str, Any]) -> None:
    with refusal(case):
        epoch_of(unhex(case["wrapped"]))


@cases(STAFF["valid"])
def test_staff_data_seals_to_the_vector_and_opens_again(case: dict[str, Any]) -> None:
    key = StaffDataKey(unhex(case["vault"]), case["version"], secret(case["key"]))
    sealed = key.seal(case["label"], case["id"], nonce=unhex(case["nonce"]), data=secret(case["data"]))
    assert sealed.hex() == case["envelope"]
    assert key.open(case["label"], case["id"], sealed).expose().hex() == case["data"]


@cases(STAFF["malformed"])
def test_refuses_malformed_or_moved_staff_data(case: dict[str, Any]) -> None:
    key = StaffDataKey(unhex(case["vault"]), case["version"], secret(case["key"]))
    keys = StaffDataKeys(key, {case["version"]: key})
    with refusal(case):
        keys.open(case["label"], case["id"], unhex(case["envelope"]))


@cases(VECTORS["digests"]["valid"])
def test_digest_is_that_of_the_vector(case: dict[str, Any]) -> None:
    key = LookupKey(case["scope"], 1, secret(case["key"]))
    assert key.digest(case["value"]).hex() == case["digest"]


@cases(VECTORS["digests"]["malformed"])
def test_refuses_digest_of_text_without_utf8_form(case: dict[str, Any]) -> None:
    with refusal(case):
        LookupKey("member.phone", 1, secret("00" * 32)).digest(case["value"])
