"""Every act the vault knows, as ``noun:verb``.

One member drives the permission, the log action, the route, the command and
the heading in the documentation; a test holds all five together.
"""

from __future__ import annotations

from enum import StrEnum


class Action(StrEnum):
    """What can be done. Kept in alphabetical order of the value."""

    APPROVAL_DECIDE = "approval:decide"
    APPROVAL_LIST = "approval:list"
    AUDIT_EXPORT = "audit:export"
    AUDIT_LIST = "audit:list"
    AUDIT_SHOW = "audit:show"
    BACKUP_CREATE = "backup:create"
    CERTIFICATE_ISSUE = "certificate:issue"
    CERTIFICATE_LIST = "certificate:list"
    CERTIFICATE_SHOW = "certificate:show"
    DRILL_RECOVERY = "drill:recovery"
    GRANT_LIST = "grant:list"
    GRANT_PROPOSE = "grant:propose"
    GRANT_REVOKE = "grant:revoke"
    INTEGRITY_ALARM = "integrity:alarm"
    KEY_CENSUS = "key:census"
    KEY_COMPROMISE = "key:compromise"
    KEY_DESTROY = "key:destroy"
    KEY_JOBS = "key:jobs"
    KEY_LIST = "key:list"
    KEY_REDIGEST = "key:redigest"
    KEY_REENCRYPT = "key:reencrypt"
    KEY_RESEAL = "key:reseal"
    KEY_RESUME = "key:resume"
    KEY_RETIRE = "key:retire"
    KEY_REWRAP = "key:rewrap"
    KEY_ROOT = "key:root"
    KEY_ROTATE = "key:rotate"
    KEY_SUSPEND = "key:suspend"
    SERVICE_AUTHENTICATE = "service:authenticate"
    SERVICE_CREATE = "service:create"
    SERVICE_LIST = "service:list"
    SERVICE_REVOKE = "service:revoke"
    SERVICE_ROTATE = "service:rotate"
    SESSION_CLOSE = "session:close"
    SESSION_OPEN = "session:open"
    STAFF_ENROL = "staff:enrol"
    STAFF_INVITE = "staff:invite"
    STAFF_LEAVE = "staff:leave"
    STAFF_LIST = "staff:list"
    STAFF_PASSWORD = "staff:password"
    SUBJECT_ERASE = "subject:erase"
    SUBJECT_LIFT = "subject:lift"
    SUBJECT_RESTRICT = "subject:restrict"
    SUBJECT_SHOW = "subject:show"
    TOKEN_DETOKENIZE = "token:detokenize"
    TOKEN_REVOKE = "token:revoke"
    TOKEN_SEARCH = "token:search"
    TOKEN_SHOW = "token:show"
    TOKEN_TOKENIZE = "token:tokenize"
    VAULT_INIT = "vault:init"
    VAULT_RESTORE = "vault:restore"
    VAULT_SEAL = "vault:seal"
    VAULT_STATUS = "vault:status"
    VAULT_UNSEAL = "vault:unseal"


GRANTABLE = frozenset(
    {
        Action.SUBJECT_ERASE,
        Action.SUBJECT_LIFT,
        Action.SUBJECT_RESTRICT,
        Action.SUBJECT_SHOW,
        Action.TOKEN_DETOKENIZE,
        Action.TOKEN_REVOKE,
        Action.TOKEN_SEARCH,
        Action.TOKEN_SHOW,
        Action.TOKEN_TOKENIZE,
    }
)
"""Acts on personal data: nobody has them by role, only by a grant."""
