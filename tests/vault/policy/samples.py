"""A small policy, and a way to change one line of it."""

from __future__ import annotations

MINIMAL = """\
[policy]
company = "달무리북스"
version = "1"
notice = 2026-11-01
effective = 2026-12-01
timezone = "Asia/Seoul"

[officer]
contact = "privacy@dalmuri.example"

[fields."member.phone"]
type = "phone"

[fields."member.gender"]
type = "gender"
required = true

[purposes.inquiry]
title = "문의 접수와 회신"
legal_basis = "제15조 제1항 제4호"
fields = ["member.phone"]
roles = ["handler", "service"]

[purposes.ethics]
title = "윤리 상담"
legal_basis = "동의"
fields = ["member.phone", "member.gender"]
roles = ["team:ethics"]
reason = "optional"
"""


def changed(before: str, after: str) -> str:
    """Return the policy with one passage, found once, replaced."""
    assert MINIMAL.count(before) == 1
    return MINIMAL.replace(before, after)
