"""Staff, services, what they prove themselves by, grants and approvals."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Integer, LargeBinary, Table, Text

from vault.storage.tables.base import metadata, sealed

staff = Table(
    "staff",
    metadata,
    Column("id", Text, primary_key=True),
    Column("login", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("employer", Text, nullable=False),
    Column("roles", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    *sealed(),
    CheckConstraint("state IN ('invited','waiting','active','left')", name="state"),
)

staff_secret = Table(
    "staff_secret",
    metadata,
    Column("staff_id", Text, ForeignKey("staff.id"), primary_key=True),
    Column("verifier", Text, nullable=False),
    Column("password_set_at", BigInteger, nullable=False),
    Column("totp_sealed", LargeBinary, nullable=False),
    Column("highest_step", BigInteger, nullable=False),
    *sealed(),
)

invitation = Table(
    "invitation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("staff_id", Text, ForeignKey("staff.id"), nullable=False),
    Column("code_mac", LargeBinary, nullable=False, unique=True),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    Column("totp_sealed", LargeBinary, nullable=False),
    Column("key_version", Integer, nullable=False, server_default="1"),
    *sealed(),
)

session = Table(
    "session",
    metadata,
    Column("id", Text, primary_key=True),
    Column("secret_mac", LargeBinary, nullable=False, unique=True),
    Column("staff_id", Text, ForeignKey("staff.id"), nullable=False),
    Column("address", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    Column("key_version", Integer, nullable=False, server_default="1"),
    *sealed(),
)
"""``last_seen_at`` and ``closed_at`` only ever narrow what the MAC covers, so it leaves them out.

``key_version`` only says when a key may end; it is outside too."""

login_failure = Table(
    "login_failure",
    metadata,
    Column("account", LargeBinary, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("window_start", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("locked_until", BigInteger, nullable=False),
)
"""``account`` is a keyed MAC of the login name given; ``source`` is '' for the account as a whole."""

service = Table(
    "service",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("owner", Text, ForeignKey("staff.id"), nullable=False),
    Column("networks", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    *sealed(),
    CheckConstraint("state IN ('active','revoked')", name="state"),
)

credential = Table(
    "credential",
    metadata,
    Column("id", Text, primary_key=True),
    Column("service_id", Text, ForeignKey("service.id"), nullable=False),
    Column("secret_mac", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("key_version", Integer, nullable=False, server_default="1"),
    *sealed(),
)
"""A service's secret, as a keyed MAC; two may live at once while rotating."""

grant = Table(
    "access_grant",
    metadata,
    Column("id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("mac", LargeBinary, nullable=False),
    Column("actor_kind", Text, nullable=False),
    Column("actor_id", Text, nullable=False),
    Column("actions", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Column("purposes", Text, nullable=False),
    Column("reveal", Text, nullable=False),
    Column("networks", Text, nullable=False),
    Column("valid_from", BigInteger, nullable=False),
    Column("valid_until", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    CheckConstraint("state IN ('proposed','active','refused','revoked')", name="state"),
)
"""Insert-only history: a change is a new version; the highest version of an id is in force."""

approval = Table(
    "approval",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("proposed_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("decided_at", BigInteger),
    *sealed(),
    CheckConstraint("kind IN ('enrolment','grant','key','erasure','lifting')", name="kind"),
    CheckConstraint("state IN ('open','approved','refused')", name="state"),
)
