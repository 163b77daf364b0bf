"""``/oauth2/token``: RFC 6749, and nothing said about what is wrong with a client."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from tests.api.world import Program, World

FORM = "application/x-www-form-urlencoded"
GRANT = "grant_type=client_credentials"


def _ask(world: World, form: str = GRANT, **headers: str) -> Any:
    return world.client.post(
        "/oauth2/token", content=form.encode("latin-1"), headers={"Content-Type": FORM, **headers}
    )


def _basic(text: str) -> str:
    return "Basic " + b64encode(text.encode()).decode()


def test_token_is_good_for_ten_minutes(world: World) -> None:
    told = world.token(world.service)
    assert told.status_code == 200
    assert told.headers["cache-control"] == "no-store"
    body = told.json()
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 600)
    assert set(body) == {"access_token", "token_type", "expires_in"}


def test_encoded_credentials_are_decoded(world: World) -> None:
    text = f"{world.service.client_id}:{world.service.secret}".replace("_", "%5F")
    assert _ask(world, Authorization=_basic(text)).status_code == 200


def test_clients_that_fail_look_alike(own_world: World) -> None:
    service = own_world.service
    wrong = service.secret[:-1] + ("0" if service.secret[-1] != "0" else "1")
    other = own_world.employ()
    shown = [
        {},
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic"},
        {"Authorization": "Basic ???"},
        {"Authorization": "Basic " + b64encode(b"\xff\xfe").decode()},
        {"Authorization": _basic("no colon")},
        {"Authorization": _basic("svc_00000000000000000000:" + service.secret)},
        {"Authorization": _basic(f"{service.client_id}:{wrong}")},
        {"Authorization": _basic(f"{service.client_id}:{other.secret}")},
        {"Authorization": _basic(f"{service.client_id}:CANARY")},
        {"Authorization": _basic("x" * 2_000)},
    ]
    for headers in shown:
        refused = _ask(own_world, **headers)
        assert refused.status_code == 401
        assert refused.json() == {"error": "invalid_client"}
        assert refused.headers["www-authenticate"] == 'Basic realm="piivault"'


def test_expired_credential_is_refused(own_world: World) -> None:
    own_world.clock.advance(days=91)
    refused = own_world.token(own_world.service)
    assert (refused.status_code, refused.json()) == (401, {"error": "invalid_client"})


def test_service_from_elsewhere_is_refused(own_world: World) -> None:
    body = {"name": "far", "owner": own_world.people["admin"].staff_id, "networks": ["203.0.113.0/24"]}
    made = own_world.ok(own_world.client.post("/v1/services", json=body, headers=own_world.admin))
    refused = own_world.token(Program(made["service_id"], made["client_secret"]))
    assert refused.status_code == 401


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ("", "invalid_request"),
        ("grant_type", "invalid_request"),
        ("scope=all", "invalid_request"),
        (f"{GRANT}&{GRANT}", "invalid_request"),
        (f"{GRANT}&client_secret=CANARY", "invalid_request"),
        (f"{GRANT}&x=%FF", "invalid_request"),
        (f"{GRANT}&x=\xe9", "invalid_request"),
        ("&".join([GRANT] * 20), "invalid_request"),
        ("grant_type=password", "unsupported_grant_type"),
        ("grant_type=CANARY", "unsupported_grant_type"),
        (f"{GRANT}&scope=all", "invalid_scope"),
    ],
)
def test_other_requests_are_refused_in_the_words_of_the_standard(world: World, form: str, error: str) -> None:
    service = world.service
    refused = _ask(world, form, Authorization=_basic(f"{service.client_id}:{service.secret}"))
    assert (refused.status_code, refused.json()) == (400, {"error": error})
    assert "www-authenticate" not in refused.headers


def test_form_has_to_be_one(world: World) -> None:
    refused = _ask(world, **{"Content-Type": "application/json"})
    assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_media_type")
    refused = _ask(world, "x" * 5_000)
    assert (refused.status_code, refused.json()["code"]) == (413, "limit_exceeded")
