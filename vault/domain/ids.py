"""Distinct types for identifiers, so that one cannot stand in for another."""

from __future__ import annotations

from typing import NewType

SubjectId = NewType("SubjectId", int)
"""Row id of a data subject: positive 63 bits, the high 7 of them the partition."""

TokenId = NewType("TokenId", int)
"""Row id of a token: positive 63 bits, the high 7 of them its subject's partition."""

StaffId = NewType("StaffId", str)
"""``stf_`` and 20 hexadecimal digits."""

ServiceId = NewType("ServiceId", str)
"""``svc_`` and 20 hexadecimal digits."""

GrantId = NewType("GrantId", str)
"""``grt_`` and 20 hexadecimal digits."""

ApprovalId = NewType("ApprovalId", str)
"""``apr_`` and 20 hexadecimal digits."""

RequestId = NewType("RequestId", str)
"""``req_`` and 32 hexadecimal digits; the same in response, problem document and log entry."""

LogIndex = NewType("LogIndex", int)
"""Position of an entry in the log, from 0, without gaps."""
