"""The error tree of ``keys``.

Errors carry rules, names and versions, never a value, a key or the text that
was refused. None of them crosses into ``api`` untranslated.

KeysError
├── DecryptionError                does not open: wrong key, tampered, moved; deliberately one error
│   └── VerificationError          the same for a MAC or a signature
├── MalformedError                 not the one canonical form; names the rule
├── UnknownKeyVersionError         missing, or in a state that forbids the use; deliberately one error
├── WrapperUnavailableError        the root key cannot be used; names the rule
├── CredentialMismatchError        a password, code or secret is not the one stored
│   └── CredentialExpiredError     it was, and its time is over
└── IllegalTransitionError         a key cannot go from that state to the other
"""

from __future__ import annotations


class KeysError(Exception):
    """Root of the tree."""


class DecryptionError(KeysError):
    """A ciphertext does not open. Why is not said (docs/formats/envelope.md 1.7)."""

    def __init__(self, message: str = "does not open") -> None:
        super().__init__(message)


class VerificationError(DecryptionError):
    """A MAC or signature does not match."""

    def __init__(self, message: str = "does not verify") -> None:
        super().__init__(message)


class MalformedError(KeysError):
    """Input is not the one canonical form. ``rule`` is the rule of docs/formats that it breaks."""

    def __init__(self, rule: str) -> None:
        super().__init__(f"malformed: {rule}")
        self.rule = rule

    def __reduce__(self) -> tuple[type[MalformedError], tuple[str]]:
        return (type(self), (self.rule,))


class UnknownKeyVersionError(KeysError):
    """No such key, or its state forbids the use. ``name`` is ``kind/scope/version``."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no usable key {name}")
        self.name = name

    def __reduce__(self) -> tuple[type[UnknownKeyVersionError], tuple[str]]:
        return (type(self), (self.name,))


class WrapperUnavailableError(KeysError):
    """The root key cannot be used.

    ``rule`` says what is wrong, ``message`` what it is about (a file, a server:
    never a secret), ``hint`` what the operator does next.
    """

    def __init__(self, rule: str, message: str = "", hint: str = "") -> None:
        super().__init__(f"{message or 'root key unavailable'}: {rule}" + (f"; {hint}" if hint else ""))
        self.rule = rule
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[WrapperUnavailableError], tuple[str, str, str]]:
        return (type(self), (self.rule, self.message, self.hint))


class CredentialMismatchError(KeysError):
    """A password, code or secret is not the one stored. One error for every cause."""

    def __init__(self, message: str = "does not match") -> None:
        super().__init__(message)


class CredentialExpiredError(CredentialMismatchError):
    """A genuine credential whose time is over."""

    def __init__(self, message: str = "is over") -> None:
        super().__init__(message)


class IllegalTransitionError(KeysError):
    """A key cannot go from ``old`` to ``new`` (docs/formats/envelope.md 10.3)."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(f"no transition from {old} to {new}")
        self.old = old
        self.new = new

    def __reduce__(self) -> tuple[type[IllegalTransitionError], tuple[str, str]]:
        return (type(self), (self.old, self.new))
