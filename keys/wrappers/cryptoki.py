"""Tokens, reached through a PKCS#11 module (PKCS#11 v3.0), and what their errors mean to an operator.

What is guaranteed: one thread at a time is inside a module; a PIN that was
refused is never tried again by the same object, and none is tried where one more
mistake would lock the token; no error, its chain or the locals of its traceback
hold a PIN or a key. What is not: the module is foreign code in this process, and
takes it along if it crashes.

The binding calls C_Initialize without arguments, which promises the module a
single caller (5.4), so one lock of the process is held around every use. A
process forked after C_Initialize must not use the module at all; every use there
raises WrapperUnavailableError("forked").
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keys.errors import WrapperUnavailableError
from keys.secret import SecretText

if TYPE_CHECKING:
    # The library is an extra: it is imported when a token is used.
    from pkcs11.exceptions import PKCS11Error
    from pkcs11.types import Session
    from pkcs11.types import Token as Found

_GONE: Final = "piivault keys root rotate --from-recovery"
"""Moves a vault to another holder without the one before; not needed where nothing is sealed yet."""

_HINTS: Final = {
    "ambiguous_key": "several secret keys have this label: rename or delete all but the right one",
    "ambiguous_token": "several tokens have this label: rename or remove all but the right one",
    "extractable": "the key may leave the token, or once could: create another, then " + _GONE,
    "forked": "open the root key after the fork, in the process that uses it",
    "key_type": "the key must be AES of 256 bits, to encrypt and decrypt: create another, then " + _GONE,
    "mechanism": "the token must do CKM_AES_GCM with the IV it is given: use another token, then " + _GONE,
    "missing_key": "correct the label, or restore the token; a new key opens nothing sealed before: " + _GONE,
    "module": "give the path of the vendor's PKCS#11 library, and check the settings of that library",
    "not_installed": 'pip install "piivault[pkcs11]"',
    "pin": "correct the PIN before you start again: every further try may lock the token",
    "pin_final_try": "not tried, as one more mistake locks the token: log in by hand to clear the count",
    "pin_locked": "have the security officer set a new PIN",
    "token_missing": "plug in or start the token, or correct its label",
    "write_protected": "lift the write protection of the token",
}
_RULES: Final = {
    "FunctionNotSupported": "mechanism",
    "MechanismInvalid": "mechanism",
    "MechanismParamInvalid": "mechanism",
    "PinExpired": "pin",
    "PinIncorrect": "pin",
    "PinInvalid": "pin",
    "PinLenRange": "pin",
    "PinLocked": "pin_locked",
    "TokenWriteProtected": "write_protected",
    "UserPinNotInitialized": "pin",
}
"""Rules of the errors of the binding, by name, since it may not be installed."""

_PIN_RULES: Final = frozenset({"pin", "pin_final_try", "pin_locked"})


class Token:
    """The token of a label, and the PIN of its user. ``purpose`` is what errors say it is wanted for."""

    __slots__ = ("_label", "_module", "_pin", "_refusal", "place")

    def __init__(self, module: Path, label: str, pin: SecretText, purpose: str) -> None:
        # A second spelling of the path would count as a second module, and C_Initialize refuse it.
        self._module = module.resolve()
        self._label = label
        self._pin = pin
        self._refusal: str | None = None
        self.place: Final = f"PKCS#11 token {label}, {purpose}"

    def fault(self, rule: str, hint: str = "") -> WrapperUnavailableError:
        """Return the error of ``rule``, with what the operator does next."""
        return WrapperUnavailableError(rule, self.place, hint or _HINTS.get(rule, ""))

    def told(self, error: PKCS11Error, otherwise: str = "unreachable") -> WrapperUnavailableError:
        """Return what an error of the module means; ``otherwise`` is the rule of those that say nothing."""
        # The frames of the binding hold the key that was being sealed.
        error.__traceback__ = None
        name = type(error).__name__
        rule = _RULES.get(name, otherwise)
        if rule in _PIN_RULES:
            self._refusal = rule
        said = f"the module says {name} {error}".strip()
        return self.fault(
            rule, f"{said}: check the token and its connection" if rule == "unreachable" else ""
        )

    @contextmanager
    def session(self, *, writable: bool = False) -> Iterator[Session]:
        """Yield a session with the user logged in, who is logged out at its end.

        Raises WrapperUnavailableError, also for errors of the module within: ambiguous_token, forked,
        mechanism, module, not_installed, pin, pin_final_try, pin_locked, token_missing, unreachable,
        write_protected.
        """
        try:
            from pkcs11.exceptions import PKCS11Error
        except ImportError:
            raise self.fault("not_installed") from None
        if not _GATE.is_ours():
            raise self.fault("forked")
        with _GATE.lock:
            try:
                session = self._login(self._find(), writable=writable)
                try:
                    yield session
                finally:
                    # A token that is gone cannot log anybody out, and has forgotten the login anyway.
                    with suppress(PKCS11Error):
                        session.close()
            except PKCS11Error as error:
                raise self.told(error) from None

    def _find(self) -> Found:
        import pkcs11

        try:
            slots = pkcs11.lib(str(self._module)).get_slots(token_present=True)
        except pkcs11.PKCS11Error as error:
            said = f"{type(error).__name__} {error}".strip()
            raise self.fault("module", f"{_HINTS['module']}; {self._module}: {said}") from None
        found = []
        for slot in slots:
            # Another reader that fails is no reason not to use the right one.
            with suppress(pkcs11.PKCS11Error):
                token = slot.get_token()
                if token.label == self._label:
                    found.append(token)
        if len(found) != 1:
            raise self.fault("ambiguous_token" if found else "token_missing")
        if pkcs11.Mechanism.AES_GCM not in found[0].slot.get_mechanisms():
            raise self.fault("mechanism")
        return found[0]

    def _login(self, token: Found, *, writable: bool) -> Session:
        from pkcs11 import TokenFlag

        if token.flags & TokenFlag.USER_PIN_LOCKED:
            raise self.fault("pin_locked")
        if token.flags & TokenFlag.USER_PIN_FINAL_TRY:
            raise self.fault("pin_final_try")
        if self._refusal is not None:
            raise self.fault(self._refusal)
        if not _is_encodable(self._pin):
            raise self.fault("pin")
        return token.open(rw=writable, user_pin=self._pin.expose())


class _Gate:
    """Lets one thread at a time into modules, and only in the process that loaded the first of them.

    State of the process, not of an object, because that is what C_Initialize makes of a module.
    """

    __slots__ = ("_owner", "lock")

    def __init__(self) -> None:
        self.lock: Final = threading.Lock()
        self._owner: int | None = None

    def is_ours(self) -> bool:
        """Answer without the lock: a fork may have copied it while it was held, and nobody would let go."""
        self._owner = self._owner or os.getpid()
        return self._owner == os.getpid()


_GATE: Final = _Gate()


def _is_encodable(pin: SecretText) -> bool:
    """Tell it before the binding finds out: its error would hold the PIN."""
    try:
        pin.expose().encode()
    except UnicodeEncodeError:
        return False
    return True
