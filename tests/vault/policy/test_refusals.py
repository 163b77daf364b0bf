from __future__ import annotations

import pytest

from tests.vault.policy.samples import MINIMAL, changed
from vault.domain.errors import InvalidInputError
from vault.policy.policy import Policy

_FIELD = 'type = "phone"'
_PURPOSE = 'fields = ["member.phone"]'
_ROLES = 'roles = ["handler", "service"]'
_PHONE_PATH = 'fields."member.phone"'
_RECIPIENT = '[recipients.courier]\ntitle = "택배"\ncontract = "C-1"\nfields = ["member.phone"]\n'

CASES = [
    # the whole text
    ("", "policy.effective", "missing"),
    ("not toml", "policy", "toml"),
    ("x = " + "1" * 5000, "policy", "toml"),
    ("x = " + "[" * 20_000, "policy", "toml"),
    ("# \ud800", "policy", "surrogate"),
    ("#" * 262_145, "policy", "too_long"),
    (MINIMAL + "[purposes.inquiry]\n", "policy", "toml"),
    (MINIMAL + "[retention]\n", "retention", "unknown_key"),
    ('"열쇠\\n" = 1', '"\\uc5f4\\uc1e0\\n"', "unknown_key"),
    ("k" * 500 + " = 1", f'"{"k" * 64}"', "unknown_key"),
    # head and officer
    (changed('company = "달무리북스"', ""), "policy.company", "missing"),
    (changed('company = "달무리북스"', "company = 7"), "policy.company", "type"),
    (changed('company = "달무리북스"', 'company = " "'), "policy.company", "empty"),
    (changed('company = "달무리북스"', 'company = "a\\u0000"'), "policy.company", "control"),
    (changed('company = "달무리북스"', f'company = "{"a" * 501}"'), "policy.company", "too_long"),
    (changed('version = "1"', 'version = "1"\nrevision = 2'), "policy.revision", "unknown_key"),
    (changed("effective = 2026-12-01", 'effective = "2026-12-01"'), "policy.effective", "type"),
    (changed("effective = 2026-12-01", "effective = 2026-12-01T00:00:00"), "policy.effective", "type"),
    (changed("effective = 2026-12-01", "effective = 2026-10-31"), "policy.notice", "range"),
    (changed("Asia/Seoul", "Asia/Atlantis"), "policy.timezone", "unknown_timezone"),
    (changed("Asia/Seoul", "../../etc/passwd"), "policy.timezone", "unknown_timezone"),
    (changed('contact = "privacy@dalmuri.example"', ""), "officer.contact", "missing"),
    (changed("[officer]", "[officer]\nname = 1"), "officer.name", "unknown_key"),
    ("officer = 1\n" + changed('[officer]\ncontact = "privacy@dalmuri.example"', ""), "officer", "type"),
    # fields
    (changed(_FIELD, 'type = "iris_scan"'), f"{_PHONE_PATH}.type", "unknown_type"),
    (changed(_FIELD, ""), f"{_PHONE_PATH}.type", "missing"),
    (changed(_FIELD, _FIELD + "\nrequired = 1"), f"{_PHONE_PATH}.required", "type"),
    (changed(_FIELD, _FIELD + '\nregion = "XX"'), f"{_PHONE_PATH}.region", "unknown_region"),
    (changed(_FIELD, _FIELD + "\nregoin = 1"), f"{_PHONE_PATH}.regoin", "unknown_key"),
    (changed(_FIELD, _FIELD + "\nplaintext = true"), f"{_PHONE_PATH}.plaintext", "plaintext"),
    (changed(_FIELD, _FIELD + "\nencrypted = false"), f"{_PHONE_PATH}.encrypted", "plaintext"),
    (changed(_FIELD, _FIELD + "\ncolumn = 'phone'"), f"{_PHONE_PATH}.column", "plaintext"),
    (changed("required = true", "searchable = true"), 'fields."member.gender".searchable', "unknown_key"),
    (changed('[fields."member.gender"]', "[fields.gender]"), "fields.gender", "code"),
    (changed('[fields."member.gender"]', "[fields.member.gender]"), "fields.member", "code"),
    (changed('[fields."member.gender"]', '[fields."Member.gender"]'), 'fields."Member.gender"', "code"),
    (changed('[fields."member.gender"]', '[fields."member.a.b"]'), 'fields."member.a.b"', "code"),
    (
        changed('[fields."member.gender"]', f'[fields."member.{"a" * 33}"]'),
        f'fields."member.{"a" * 33}"',
        "code",
    ),
    ('fields = {"member.phone" = 1}\n' + MINIMAL.split("[fields", 1)[0], _PHONE_PATH, "type"),
    # purposes
    (changed("[purposes.inquiry]", "[purposes.Inquiry]"), "purposes.Inquiry", "code"),
    (changed("[purposes.inquiry]", "[purposes.i]"), "purposes.i", "code"),
    (changed(_PURPOSE, 'fields = ["member.fax"]'), "purposes.inquiry.fields", "unknown_field"),
    (changed(_PURPOSE, "fields = []"), "purposes.inquiry.fields", "empty"),
    (changed(_PURPOSE, 'fields = "member.phone"'), "purposes.inquiry.fields", "type"),
    (changed(_PURPOSE, "fields = [1]"), "purposes.inquiry.fields", "type"),
    (changed(_PURPOSE, 'fields = ["member.phone", "member.phone"]'), "purposes.inquiry.fields", "duplicate"),
    (changed(_PURPOSE, ""), "purposes.inquiry.fields", "missing"),
    (changed('legal_basis = "동의"', ""), "purposes.ethics.legal_basis", "missing"),
    (changed(_ROLES, 'roles = ["administrator"]'), "purposes.inquiry.roles", "role_not_allowed"),
    (changed(_ROLES, 'roles = ["handler", "reviewer"]'), "purposes.inquiry.roles", "role_not_allowed"),
    (changed(_ROLES, 'roles = ["ethics"]'), "purposes.inquiry.roles", "role_not_allowed"),
    (changed(_ROLES, 'roles = ["team:"]'), "purposes.inquiry.roles", "role_not_allowed"),
    (changed('reason = "optional"', 'reason = "never"'), "purposes.ethics.reason", "unknown_value"),
    (changed('reason = "optional"', "reason = false"), "purposes.ethics.reason", "unknown_value"),
    (changed('reason = "optional"', "reveal = 1"), "purposes.ethics.reveal", "unknown_key"),
    (MINIMAL.split("[purposes", 1)[0], "purposes", "missing"),
    (MINIMAL.split("[fields", 1)[0], "fields", "missing"),
    # recipients and limits
    (MINIMAL + _RECIPIENT.replace("courier", "C"), "recipients.C", "code"),
    (MINIMAL + _RECIPIENT.replace("contract", "deal"), "recipients.courier.deal", "unknown_key"),
    (
        MINIMAL + _RECIPIENT.replace("member.phone", "member.fax"),
        "recipients.courier.fields",
        "unknown_field",
    ),
    (MINIMAL + "[limits]\nplain_batch = 0\n", "limits.plain_batch", "range"),
    (MINIMAL + "[limits]\ndetokenize_batch = 1001\n", "limits.detokenize_batch", "range"),
    (MINIMAL + "[limits]\ntokenize_batch = true\n", "limits.tokenize_batch", "type"),
    (MINIMAL + "[limits]\nsearches = 1\n", "limits.searches", "unknown_key"),
]


@pytest.mark.parametrize(
    ("text", "path", "rule"), CASES, ids=[f"{path[:40]}-{rule}" for _, path, rule in CASES]
)
def test_refuses_and_names_the_key_and_the_rule(text: str, path: str, rule: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Policy.parse(text)
    assert (caught.value.field, caught.value.rule) == (path, rule)
    assert str(caught.value).startswith(path)
    assert len(str(caught.value)) < 400
