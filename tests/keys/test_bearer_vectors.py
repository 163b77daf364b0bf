from __future__ import annotations

import hashlib
import hmac
from typing import Any

from keys.bearer import (
    AccessToken,
    SessionKeys,
    parse_client_secret,
    parse_session_secret,
    require_client_id,
)
from keys.macs import MacKeys
from keys.secret import SecretText
from tests.keys.vectors import cases, load, refusal, secret, unhex

VECTORS = load("bearer")
SECRETS = VECTORS["secrets"]
ACCESS = VECTORS["access"]
PARSERS = {"client": parse_client_secret, "session": parse_session_secret}


def session_keys() -> SessionKeys:
    return SessionKeys(unhex(VECTORS["vault"]), MacKeys("session", 1, [(1, secret(VECTORS["key"]))]))


@cases(SECRETS["valid"])
def test_secret_has_the_digest_of_the_vector(case: dict[str, Any]) -> None:
    parsed = PARSERS[case["use"]](case["text"])
    assert parsed.expose() == case["text"]
    keys = session_keys()
    digest = keys.credential_digest if case["use"] == "client" else keys.session_digest
    assert digest(parsed).hex() == case["digest"]


@cases(SECRETS["malformed"])
def test_refuses_malformed_secret(case: dict[str, Any]) -> None:
    with refusal(case):
        PARSERS[case["use"]](case["text"])


@cases(ACCESS["valid"])
def test_access_token_is_that_of_the_vector(case: dict[str, Any]) -> None:
    keys, credential = session_keys(), unhex(case["credential"])
    text = keys.issue_access_token(credential, issued=case["issued"], expires=case["expires"]).expose()
    assert text == case["text"]
    expected = AccessToken(credential, case["issued"], case["expires"])
    assert keys.open_access_token(text, at=case["expires"] - 1) == expected


def test_access_token_vector_follows_from_primitives() -> None:
    raw = unhex(ACCESS["valid"][0]["text"][4:])
    payload, code = raw[:37], raw[37:]
    parts = [b"piivault/access-token/v1", unhex(VECTORS["vault"]), payload]
    message = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    assert hmac.new(unhex(VECTORS["key"]), message, hashlib.sha256).digest() == code


@cases(ACCESS["malformed"])
def test_refuses_malformed_forged_or_expired_access_token(case: dict[str, Any]) -> None:
    keys = session_keys()
    with refusal(case):
        keys.open_access_token(case["text"], at=case["at"])


@cases(ACCESS["unwritable"])
def test_refuses_to_issue_access_token_outside_the_format(case: dict[str, Any]) -> None:
    keys = session_keys()
    with refusal(case):
        keys.issue_access_token(unhex(case["credential"]), issued=case["issued"], expires=case["expires"])


def test_client_id_in_form_is_returned() -> None:
    for text in VECTORS["client_ids"]["valid"]:
        assert require_client_id(text) == text


@cases(VECTORS["client_ids"]["malformed"])
def test_refuses_malformed_client_id(case: dict[str, Any]) -> None:
    with refusal(case):
        require_client_id(case["text"])


@cases(VECTORS["throttle_accounts"])
def test_login_counted_has_the_digest_of_the_vector(case: dict[str, Any]) -> None:
    assert session_keys().session_digest(SecretText("login " + case["login"])).hex() == case["digest"]


def test_texts_under_the_session_label_begin_differently() -> None:
    texts = [case["text"] for case in SECRETS["valid"] if case["use"] == "session"]
    texts += [case["text"] for case in VECTORS["invitations"]["valid"]]
    texts += ["login " + case["login"] for case in VECTORS["throttle_accounts"]]
    assert {text[:4] for text in texts} == {"pvn_", "pvi_", "logi"}
