"""From the settings to what seals the root key.

Which sort of wrapper sealed a copy stands beside it in the database; where this
host finds it stands in ``piivault.toml``. So a change of the root key, or of
what holds it, is one transaction, and no file has to change with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from keys.errors import WrapperUnavailableError
from keys.secret import SecretText
from keys.wrappers import KeyWrapper
from keys.wrappers.aws_kms import AwsKmsWrapper
from keys.wrappers.keyfile import KeyFileWrapper
from keys.wrappers.openbao import OpenBaoWrapper, read_token, unwrap_token
from keys.wrappers.passphrase import PassphraseWrapper, read_passphrase
from keys.wrappers.pkcs11 import Pkcs11Wrapper
from keys.wrappers.shamir import ShamirWrapper, ShareCollector
from keys.wrappers.tokenfile import Unwrap, kept_token
from vault.access.roots import NOBODY
from vault.domain.errors import InvalidInputError, UnavailableError
from vault.settings import Settings
from vault.storage.roots import RootRow

Ask = Callable[[str], SecretText]
"""Asks whoever opens the vault for a passphrase or a share; the text says which."""


def nobody(_what: str) -> SecretText:
    """Ask nobody. Raises UnavailableError."""
    raise UnavailableError(
        "the root key needs a passphrase or shares, and nobody can be asked: start at a terminal, or with"
        " --unseal-fd",
        reference=NOBODY,
    )


@dataclass(frozen=True, slots=True)
class New:
    """What a new root key is to be sealed by."""

    kind: str
    threshold: int = 2
    shares: int = 3
    """Of ``shamir`` alone."""
    file: Path | None = None
    """Of ``file`` alone: where to write it."""


FILE: Final = New("file")
PRINTED_SHARES: Final = New("shamir")


@dataclass(frozen=True, slots=True)
class Sealing:
    """How a new root key is to be sealed."""

    root: New | None = None
    """A key file, or when another root key is in force what seals that one."""
    recovery: New | None = None
    """For the day that the first cannot be opened: something else. Shares, or what it was before."""
    tables: str = ""
    """Tables of wrappers, for the settings."""
    ask: Ask = nobody


@dataclass(frozen=True, slots=True)
class Made:
    """A new wrapper, and the shares to hand out if it is made of shares."""

    wrapper: KeyWrapper
    shares: tuple[SecretText, ...] = ()
    file: Path | None = None
    """The key file that was written, if one was."""


class Patient:
    """An ``Ask`` of somebody at a terminal, who may be told what was wrong and asked again."""

    def __init__(self, ask: Callable[[str], str], tell: Callable[[str], None]) -> None:
        self._ask = ask
        self.tell = tell

    def __call__(self, what: str) -> SecretText:
        """Ask."""
        return SecretText(self._ask(what))


def by_reading(descriptor: int) -> Ask:
    """Return an ``Ask`` that reads a line of an open file descriptor each time.

    It raises UnavailableError for what is not a line of UTF-8.
    """

    def read(_what: str) -> SecretText:
        try:
            return read_passphrase(descriptor)
        except WrapperUnavailableError as error:
            raise UnavailableError(str(error)) from None

    return read


def wrapper_of(settings: Settings, ask: Ask, row: RootRow) -> KeyWrapper:
    """Return what sealed ``row``, as this host finds it.

    Raises InvalidInputError when the settings do not say where,
    WrapperUnavailableError when it cannot be used.
    """
    if row.kind == "file":
        return KeyFileWrapper(key_file(settings, row.version))
    if row.kind == "shamir":
        return _combined(ask)
    return made(settings, ask, New(row.kind), row.version).wrapper


def recovery_of(row: RootRow, ask: Ask, file: Path | None) -> KeyWrapper:
    """Return what sealed the copy for recovery: ``file``, a passphrase or shares.

    Raises WrapperUnavailableError.
    """
    if row.kind == "file" and file is not None:
        return KeyFileWrapper(file)
    return _combined(ask) if row.kind == "shamir" else PassphraseWrapper(ask("passphrase"))


def made(settings: Settings, ask: Ask, new: New, version: int) -> Made:
    """Return the wrapper for a new root key. Writes the key file; makes the shares."""
    if new.kind == "file":
        path = new.file or key_file(settings, version)
        return Made(KeyFileWrapper.create(path), file=path)
    if new.kind == "shamir":
        shamir, shares = ShamirWrapper.create(new.threshold, new.shares)
        return Made(shamir, shares)
    maker = _MAKERS.get(new.kind)
    if maker is None:
        raise InvalidInputError(
            f"the root key is sealed by one of {', '.join(kinds())}", field="kind", rule="choice"
        )
    return Made(maker(settings, ask))


def kinds() -> tuple[str, ...]:
    """Return every kind of wrapper that may seal the root key."""
    return ("file", "shamir", *_MAKERS)


def key_file(settings: Settings, version: int) -> Path:
    """Return where the key file of a version is: ``root.key``, then ``root-2.key`` and so on."""
    path = settings.root_key
    return path if version == 1 else path.with_stem(f"{path.stem}-{version}")


def _combined(ask: Ask) -> ShamirWrapper:
    collector = ShareCollector()
    given, needed = 0, 1
    while given < needed:
        try:
            given, needed = collector.add(ask(f"share {given + 1}"))
        except WrapperUnavailableError as error:
            # A person at a terminal may correct what they typed; a file stays as it is.
            if not isinstance(ask, Patient):
                raise
            ask.tell(str(error))
    return collector.wrapper()


def _passphrase(_settings: Settings, ask: Ask) -> KeyWrapper:
    return PassphraseWrapper(ask("passphrase"))


def _openbao(settings: Settings, _ask: Ask) -> KeyWrapper:
    own = Table(settings, "openbao")
    address, namespace = own.text("address"), own.text("namespace", "") or None
    ca_file = own.path("ca_file") if own.has("ca_file") else None
    return OpenBaoWrapper(
        address=address,
        key_name=own.text("key"),
        token=_token(own, partial(unwrap_token, address, namespace=namespace, ca_file=ca_file)),
        mount=own.text("mount", "transit"),
        namespace=namespace,
        ca_file=ca_file,
    )


def _token(own: Table, unwrap: Unwrap) -> SecretText:
    kept = own.path("token_file")
    if not own.has("wrapped_token_file"):
        return read_token(kept)
    wrapped = own.path("wrapped_token_file")
    if wrapped == kept:
        field = "openbao.wrapped_token_file"
        raise InvalidInputError(f"{field}: name another file than token_file", field=field, rule="same")
    return kept_token(kept, wrapped, unwrap)


def _pkcs11(settings: Settings, _ask: Ask) -> KeyWrapper:
    own = Table(settings, "pkcs11")
    pin = read_token(own.path("pin_file"), what="PIN file")
    return Pkcs11Wrapper(own.path("module"), own.text("token"), own.text("key"), pin)


def _aws_kms(settings: Settings, _ask: Ask) -> KeyWrapper:
    own = Table(settings, "aws_kms")
    return AwsKmsWrapper(
        own.text("key"), region=own.text("region"), endpoint=own.text("endpoint", "") or None
    )


_MAKERS: Final[Mapping[str, Callable[[Settings, Ask], KeyWrapper]]] = MappingProxyType(
    {"passphrase": _passphrase, "openbao": _openbao, "pkcs11": _pkcs11, "aws_kms": _aws_kms}
)


class Table:
    """One wrapper's table of the settings. Raises WrapperUnavailableError when there is none."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._home = settings.home
        self._name = name
        self._members = settings.wrappers.get(name, {})
        if not self._members:
            hint = f"give its table [{name}]: with --root-key-settings at init, later in piivault.toml"
            raise WrapperUnavailableError("settings", name, hint)

    def has(self, key: str) -> bool:
        """Say whether the table has ``key``."""
        return key in self._members

    def text(self, key: str, default: str | None = None) -> str:
        """Return a member. Raises InvalidInputError when it is not there and has no default."""
        found = self._members.get(key, default)
        if found is None:
            raise InvalidInputError(
                f"{self._name}.{key} is needed", field=f"{self._name}.{key}", rule="required"
            )
        return found

    def path(self, key: str) -> Path:
        """Return a member that is a path, relative to the folder of the vault. Raises InvalidInputError."""
        return self._home / self.text(key)
