"""Private PKCS#11 tokens for tests: SoftHSM2 over a folder of its own, gone afterwards.

SoftHSM reads ``SOFTHSM2_CONF`` when it is initialised, and a module is initialised once in a process. So
there is one folder for a process, however many tokens the tests put into it; workers of xdist are processes
of their own, and programs that a test starts inherit the variable and see the same tokens. There is no way to
do without: where no SoftHSM2 can be found, :class:`NoSoftHsmError` says what to install.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pkcs11
from pkcs11 import Attribute, KeyType, MechanismFlag

from keys.secret import SecretText

MODULE_VARIABLE = "PIIVAULT_TEST_SOFTHSM"
CONF_VARIABLE = "SOFTHSM2_CONF"

_PLACES = (
    ("/usr/lib", "softhsm/libsofthsm2.so"),
    ("/usr/lib", "*/softhsm/libsofthsm2.so"),
    ("/usr/lib64/pkcs11", "libsofthsm2.so"),
    ("/opt/homebrew/lib/softhsm", "libsofthsm2.so"),
    ("/usr/local/lib/softhsm", "libsofthsm2.so"),
)

_SO_PIN = b"officer-0000"
_OFFICER = 0
_READ_WRITE = 0b110  # CKF_SERIAL_SESSION and CKF_RW_SESSION
_LABEL_LENGTH = 32

# Where SoftHSM keeps the flags of a token: an attribute of its own, then the kind of a number.
_FLAGS = bytes.fromhex("00000000 8000534b 00000000 00000002")

_ulong = ctypes.c_ulong


class NoSoftHsmError(RuntimeError):
    """No SoftHSM2 could be found or used."""


@dataclass(frozen=True, slots=True)
class SoftToken:
    """A token, and what its user knows of it."""

    module: Path
    label: str
    pin: SecretText


def find_module() -> Path:
    """Return the library of SoftHSM2: the one the environment names, or an installed one."""
    named = os.environ.get(MODULE_VARIABLE)
    if named is not None:
        if not Path(named).is_file():
            raise NoSoftHsmError(f"{MODULE_VARIABLE} names {named}, where no file is")
        return Path(named).resolve()
    for folder, pattern in _PLACES:
        for path in sorted(Path(folder).glob(pattern)):
            return path.resolve()
    raise NoSoftHsmError(
        f"no SoftHSM2: apt-get install softhsm2, or name libsofthsm2.so in {MODULE_VARIABLE}"
    )


def make_key(token: SoftToken, label: str = "root") -> None:
    """Put a key into a token, as its operator does: sensitive, not extractable, to encrypt and decrypt."""
    found = pkcs11.lib(str(token.module)).get_token(token_label=token.label)
    with found.open(rw=True, user_pin=token.pin.expose()) as session:
        session.generate_key(
            KeyType.AES,
            256,
            label=label,
            store=True,
            capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
            template={Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
        )


class SoftHsm:
    """The tokens of this process. ``with SoftHsm() as hsm: hsm.create_token()``."""

    def __init__(self) -> None:
        self.module = find_module()
        self._numbers = itertools.count(1)
        self._folder = Path(tempfile.mkdtemp(prefix="pv-hsm-"))
        self._tokens = self._folder / "tokens"
        self._tokens.mkdir(mode=0o700)
        self._before = os.environ.get(CONF_VARIABLE)
        os.environ[CONF_VARIABLE] = str(self._folder / "softhsm2.conf")
        self._configure("ALL")
        pkcs11.lib(str(self.module))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def create_token(self, label: str | None = None, pin: str = "canary-pin-7391") -> SoftToken:
        """Make a token that has no keys."""
        label = label or f"token-{next(self._numbers)}"
        # The binding cannot make tokens, and those that softhsm2-util makes are seen after a restart only.
        module = ctypes.CDLL(str(self.module))
        count, session = _ulong(), _ulong()
        _done(module.C_GetSlotList(1, None, ctypes.byref(count)))
        slots = (_ulong * count.value)()
        _done(module.C_GetSlotList(1, slots, ctypes.byref(count)))
        free = _ulong(slots[count.value - 1])
        so_pin = (_SO_PIN, _ulong(len(_SO_PIN)))
        _done(module.C_InitToken(free, *so_pin, label.encode().ljust(_LABEL_LENGTH)))
        _done(module.C_OpenSession(free, _ulong(_READ_WRITE), None, None, ctypes.byref(session)))
        _done(module.C_Login(session, _ulong(_OFFICER), *so_pin))
        _done(module.C_InitPIN(session, pin.encode(), _ulong(len(pin.encode()))))
        _done(module.C_Logout(session))
        _done(module.C_CloseSession(session))
        return SoftToken(self.module, label, SecretText(pin))

    def restart(self, mechanisms: str = "ALL") -> None:
        """Start anew, with what is in the folder then and no other ``mechanisms``; every session is lost."""
        self._configure(mechanisms)
        pkcs11.lib(str(self.module)).reinitialize()

    def set_flag(self, token: SoftToken, flag: int) -> None:
        """Set a flag of a token that SoftHSM itself never sets, such as that its PIN is locked."""
        path = self._stored(token) / "token.object"
        stored = path.read_bytes()
        start = stored.index(_FLAGS) + len(_FLAGS)
        flags = int.from_bytes(stored[start : start + 8]) | flag
        path.write_bytes(stored[:start] + flags.to_bytes(8) + stored[start + 8 :])
        self.restart()

    def pull_out(self, token: SoftToken) -> None:
        """Take a token away while it may be in use."""
        self._stored(token).rename(self._folder / token.label)

    def put_back(self, token: SoftToken) -> None:
        """Bring back what was pulled out. SoftHSM looks for tokens when it starts."""
        (self._folder / token.label).rename(self._tokens / token.label)
        self.restart()

    def close(self) -> None:
        """Leave the module for the next one to start with a folder of its own, and remove the tokens."""
        pkcs11.lib(str(self.module)).finalize()
        if self._before is None:
            del os.environ[CONF_VARIABLE]
        else:
            os.environ[CONF_VARIABLE] = self._before
        shutil.rmtree(self._folder)

    def _configure(self, mechanisms: str) -> None:
        lines = (
            f"directories.tokendir = {self._tokens}",
            "objectstore.backend = file",
            "log.level = ERROR",
            f"slots.mechanisms = {mechanisms}",
        )
        (self._folder / "softhsm2.conf").write_text("\n".join(lines) + "\n")

    def _stored(self, token: SoftToken) -> Path:
        padded = token.label.encode().ljust(_LABEL_LENGTH)
        for folder in self._tokens.iterdir():
            if padded in (folder / "token.object").read_bytes():
                return folder
        raise NoSoftHsmError(f"{self._tokens} has no token {token.label}")


def _done(code: int) -> None:
    if code != 0:
        raise NoSoftHsmError(f"SoftHSM2 answers {code:#x}")
