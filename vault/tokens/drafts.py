"""Subjects and items of a tokenize request on their way into rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from unicodedata import normalize

from keys.tokens import DecodedToken, TokenKind
from vault.access.standing import FieldSlot, Standing
from vault.domain.errors import InvalidInputError, VaultError
from vault.domain.references import REFERENCE_SCOPE
from vault.fields.resident import refuse_resident_number
from vault.fields.rules import RuleBrokenError
from vault.tokens.requests import NewSubject, TokenizeItem
from vault.tokens.subjectkeys import SubjectKeys


@dataclass(slots=True, eq=False)
class SubjectDraft:
    """The subject that some items of a request share: a known one, or one to be made."""

    kind: str
    claimed: tuple[int, bytes] | None = None
    """Row id and nonce of the subject text that the caller gave."""
    reference: str = ""
    digest: bytes | None = None
    """Digest of the external reference under the lookup key in force."""
    version: int | None = None
    """Version of that key."""
    digests: tuple[bytes, ...] = ()
    """Digests under every key that a subject may have been found by."""
    keys: SubjectKeys | None = None
    """None until it is found or made."""
    existed: bool = False
    """Whether it was found by its external reference."""
    error: VaultError | None = None
    """Why no item of this subject can be done."""

    def found_in(self, references: Mapping[bytes, tuple[int, bytes]]) -> tuple[int, bytes] | None:
        """Return row id and sealed reference of the subject that has this reference already."""
        for digest in self.digests:
            if digest in references:
                return references[digest]
        return None


class ItemDraft:
    """One item: normalised or refused, then a token. What has not come about yet is the class's. HOT."""

    value: str = ""
    subject: SubjectDraft | None = None
    error: VaultError | None = None
    kind: TokenKind = TokenKind.RANDOM
    audience: str = ""
    """Recipient for whom it is."""
    audience_id: int = 0
    existing: bool = False
    replaced: bool = False
    """Whether an existing token stands for another value from now on."""
    token_id: int = 0
    token_nonce: bytes = b""
    warnings: tuple[str, ...] = ()

    def __init__(self, slot: FieldSlot | None) -> None:
        """Begin; ``slot`` is None when the policy has no such field."""
        self.slot = slot


class SubjectDrafts:
    """The subjects of one request, by what the caller calls them.

    An external reference names one subject however it is written and whatever
    labels stand beside it, as it would if that subject had existed before.
    """

    def __init__(self, standing: Standing, items: Iterable[TokenizeItem]) -> None:
        self._standing = standing
        texts = list(dict.fromkeys([item.subject for item in items if isinstance(item.subject, str)]))
        self._decoded = dict(zip(texts, standing.keyring.tokens.decode_many(texts), strict=True))
        self._by_name: dict[object, SubjectDraft] = {}
        self._by_digest: dict[bytes, SubjectDraft] = {}

    def of(self, item: TokenizeItem, kind: str) -> SubjectDraft:
        """Return the subject of ``item``, whose field belongs to ``kind`` of subject.

        Raises InvalidInputError: unknown_subject, kind_conflict,
        reference_conflict, reference_with_subject, resident_number.
        """
        # One form of it, as its digest has: it is compared with what was sealed.
        reference = _screened(item.external_ref) if item.external_ref else ""
        if isinstance(item.subject, str):
            if reference:
                raise refused("external_ref", "reference_with_subject", "goes with a new subject only")
            return self._named(item.subject, kind)
        if isinstance(item.subject, NewSubject):
            name: tuple[str, ...] = ("new", item.subject.new)
            return self._referred(name, kind, reference) if reference else self._named(name, kind)
        if reference:
            return self._referred(("ref", kind, reference), kind, reference)
        return SubjectDraft(kind)

    def all(self) -> Iterable[SubjectDraft]:
        """Return the subjects that have a name, each once."""
        return dict.fromkeys(self._by_name.values())

    def _named(self, name: str | tuple[str, ...], kind: str) -> SubjectDraft:
        """Return the subject of a name: a subject id as it is, or a tuple for one that may be new."""
        draft = self._by_name.get(name)
        if draft is None:
            claimed = self._claim(name) if isinstance(name, str) else None
            draft = self._by_name[name] = SubjectDraft(kind, claimed)
        elif draft.kind != kind:
            raise refused("subject", "kind_conflict", "one subject has fields of one kind")
        return draft

    def _referred(self, name: tuple[str, ...], kind: str, reference: str) -> SubjectDraft:
        known = self._by_name.get(name)
        if known is not None and known.kind == kind and known.reference == reference:
            return known
        keyring, scope = self._standing.keyring, REFERENCE_SCOPE + kind
        active = keyring.lookup(scope)
        digest = active.digest(reference)
        bearer = self._by_digest.get(digest)
        if bearer is not None and known is None:
            self._by_name[name] = bearer
        draft = self._named(name, kind)
        if bearer not in {None, draft} or draft.digest not in {None, digest}:
            raise refused("external_ref", "reference_conflict", "one subject has one external reference")
        draft.reference, draft.digest, draft.version = reference, digest, active.version
        others = [key for key in keyring.lookup_all(scope) if key is not active]
        draft.digests = (digest, *(key.digest(reference) for key in others))
        self._by_digest[digest] = draft
        return draft

    def _claim(self, text: str) -> tuple[int, bytes]:
        decoded = self._decoded[text]
        if not isinstance(decoded, DecodedToken) or decoded.kind is not TokenKind.SUBJECT:
            raise unknown_subject()
        return decoded.row_id, decoded.nonce


def _screened(reference: str) -> str:
    """Return the one form of an external reference. Raises InvalidInputError: resident_number."""
    try:
        refuse_resident_number(reference)
    except RuleBrokenError:
        pass
    else:
        return normalize("NFC", reference)
    raise refused("external_ref", "resident_number", "must not hold a resident registration number")


def refused(field: str, rule: str, detail: str) -> InvalidInputError:
    """Return the error of an item member that breaks ``rule``."""
    return InvalidInputError(f"{field}: {detail}", field=field, rule=rule)


def unknown_subject() -> InvalidInputError:
    """Return the one error for subjects that are malformed, unknown or another's."""
    return refused("subject", "unknown_subject", "there is no such subject")


def explain(error: VaultError, field: str) -> dict[str, Any]:
    """Return the ``error`` member of an item's answer: code, field and rule, never a value."""
    if isinstance(error, InvalidInputError):
        return {"code": error.code, "field": error.field, "rule": error.rule, "detail": error.detail}
    return {"code": error.code, "field": field, "rule": error.code, "detail": error.detail}
