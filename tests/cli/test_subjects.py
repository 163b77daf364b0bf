"""Data subjects, by commands, at a real server."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Command
from tests.cli.town import Town
from vault.service.subjects import GROUNDS

ADMINISTRATOR = ("--profile", "administrator")
HANDLER = ("--profile", "handler")
OFFICER = ("--profile", "officer")
INQUIRY = ("--purpose", "inquiry", "--reason", "ticket 4711")


@pytest.fixture
def granted(at_town: Command, town: Town) -> None:
    """Let the handler act on whole subjects."""
    actions = [
        part for act in ("erase", "lift", "restrict", "show") for part in ("--action", f"subject:{act}")
    ]
    ran = at_town(
        *("grant", "propose", f"staff:{town.cast.handler.staff_id}", *actions),
        *("--field", "member.phone", "--purpose", "inquiry", "--reason", "answers subjects", *ADMINISTRATOR),
    )
    assert ran.code == 0, ran.err


def _somebody(at_town: Command, value: str) -> tuple[str, str]:
    ran = at_town(
        "tokenize", *INQUIRY, "--field", "member.phone", "--json", *HANDLER, stdin=f"{value}\n"
    )  # fmt: skip
    answer = ran.json["items"][0]
    return answer["subject"], answer["token"]


@pytest.mark.usefixtures("granted")
def test_a_person_is_restricted_lifted_and_erased(at_town: Command) -> None:
    subject, token = _somebody(at_town, "010-1888-0001")
    shown = at_town("subject", "show", subject, *HANDLER)
    assert "open" in shown.out
    assert "1 live" in shown.out
    assert "0001" not in shown.out
    ground = ("--ground", "subject_request", "--reason", "letter of 3 May")

    restricted = at_town("subject", "restrict", subject, *ground, *HANDLER)
    assert (restricted.code, restricted.out) == (0, f"{subject} is restricted.\n")
    refused = at_town("detokenize", *INQUIRY, token, *HANDLER)
    assert refused.code == 4
    assert "subject_restricted" in refused.err

    lifting = at_town("subject", "lift", subject, *ground, *HANDLER)
    assert "is open again when the officer approves: piivault approval approve apr_" in lifting.out
    approved = at_town("approval", "approve", lifting.out.split()[-1], *OFFICER)
    assert approved.out.endswith("is approved. The restriction is lifted.\n")
    assert at_town("detokenize", *INQUIRY, token, *HANDLER).out == "010-****-0001\n"

    erasing = at_town("subject", "erase", subject, *ground, "--purpose", "inquiry", "--json", *HANDLER)
    assert erasing.json["subject"] == subject
    listed = at_town("approval", "list", *OFFICER)
    assert " erasure " in next(
        line for line in listed.out.splitlines() if erasing.json["approval_id"] in line
    )
    approved = at_town("approval", "approve", erasing.json["approval_id"], *OFFICER)
    assert approved.out.endswith("is approved. The subject is erased.\n")
    gone = at_town("token", "show", token, *HANDLER)
    assert gone.code == 4
    assert "subject_erased" in gone.err
    erased = at_town("subject", "show", subject, *HANDLER)
    assert "erased" in erased.out
    assert "crt_" in erased.out
    assert at_town("subject", "erase", subject, *ground, *HANDLER).code == 4


@pytest.mark.usefixtures("granted")
def test_the_answer_is_json_as_well(at_town: Command) -> None:
    subject, _ = _somebody(at_town, "010-1888-0002")
    shown = at_town("subject", "show", subject, "--json", *HANDLER)
    assert shown.json["fields"] == [{"field": "member.phone", "live": 1}]
    ran = at_town("subject", "restrict", subject, "--ground", "court_order", "--json", *HANDLER)
    assert ran.json["subject"] == subject
    again = at_town("subject", "restrict", subject, "--ground", "court_order", "--json", *HANDLER)
    assert (again.code, again.json["error"]["code"]) == (5, "conflict")


def test_without_a_grant_nothing_is_told(at_town: Command) -> None:
    for act in (("show",), ("erase", "--ground", "court_order")):
        ran = at_town("subject", act[0], "sub_" + "0" * 40, *act[1:], *OFFICER)
        assert ran.code == 4
        assert "access_denied" in ran.err


def test_an_unknown_ground_is_refused_before_anything_is_sent(at_town: Command) -> None:
    ran = at_town("subject", "erase", "sub_0", "--ground", "because", *HANDLER)
    assert ran.code == 2
    for ground in GROUNDS:
        assert ground in ran.err
