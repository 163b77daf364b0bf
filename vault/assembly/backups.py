"""Back a vault up, put one back, and settle a raw copy of its database. For the operator on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from keys.durable import replace_file
from keys.errors import MalformedError
from keys.keyring import Keyring
from keys.passwords import Passwords
from keys.recipients import Identities, Recipients
from keys.secret import SecretText
from vault.access.accounts import Shown
from vault.access.entries import HOST, Request, own_origin
from vault.access.sealing import usable_keys
from vault.assembly.homes import make_home, require_vacant, take_away
from vault.assembly.unlocking import Unlocking
from vault.audit.integrator import Integrator
from vault.audit.note import NoteKey, parse_vkey, vkey
from vault.audit.outside import OutsideCheckpoint
from vault.audit.tombstones import head_path
from vault.backup.carrying import Carried
from vault.backup.outside import Gap, Outside
from vault.backup.reading import load, require_readable
from vault.backup.sets import Progress
from vault.backup.settling import Settled, Terms, Vouch, settle
from vault.backup.standstill import require_behind
from vault.backup.writing import SealedTo, Written, write_backup
from vault.domain.errors import ConflictError, InvalidInputError, OutcomeUnknownError
from vault.service.vault import system_clock
from vault.settings import Settings, wrapper_tables
from vault.storage.database import Connection, Database
from vault.storage.keys import read_keys
from vault.storage.migrate import require_current, upgrade
from vault.storage.roots import read_roots
from vault.storage.snapshots import empty, is_empty

__all__ = [
    "Gap",
    "Options",
    "Restored",
    "Shown",
    "Unlocking",
    "Vouch",
    "Written",
    "backup",
    "read_identities",
    "restore",
    "restore_raw",
    "shown",
]


BY_ITSELF: Final = Unlocking()


def _nothing(_rows: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Options:
    """What restoring either kind of copy may be given."""

    unlocking: Unlocking = BY_ITSELF
    checkpoint: Path | None = None
    """The newest one kept outside; else what there is beside the copy."""
    tombstones: Path | None = None
    log_keys: tuple[str, ...] = ()
    """Public keys of the log (vkeys) that are younger than the copy."""
    vouch: Vouch | None = None
    """None: a gap is refused."""
    officer: str = ""
    """Login of the one who stays active and lets the others in, where the copy has several."""
    progress: Progress = _nothing
    passwords: Passwords | None = None
    clock: Callable[[], datetime] = system_clock


NO_OPTIONS: Final = Options()


@dataclass(frozen=True, slots=True)
class Restored:
    """A vault that may be served again."""

    home: Path
    vault_id: str
    log_index: int
    """Of the entry ``vault:restore``."""
    log_key: str
    """Public key of the log from now on."""
    log_before: str
    replayed: Mapping[str, int]
    ended: Mapping[str, int]
    undigested: int
    officer: str
    """Login of the one person who is active; empty where the copy has no officer, and nobody waits."""
    unanswered: tuple[str, ...]
    """Ids of subjects whose erasure waited for the officer: it is to be proposed again."""
    gap: Gap | None
    newer: bool
    """Whether the tombstones tell of anything after the copy; if not, whoever was erased since is back."""


def backup(
    settings: Settings,
    target: Path,
    *,
    values_to: Sequence[str],
    keys_to: Sequence[str],
    unlocking: Unlocking = BY_ITSELF,
    progress: Progress = _nothing,
    clock: Callable[[], datetime] = system_clock,
) -> Written:
    """Write a backup of the vault of ``settings``, which may be in use, into the new folder ``target``.

    Raises InvalidInputError (recipients, a place beside the vault), ConflictError, UnavailableError.
    """
    target = target.absolute()
    _require_elsewhere(settings, target)
    sealed_to = SealedTo(_recipients(values_to, "values_to"), _recipients(keys_to, "keys_to"))
    with closing(Database.open(settings.database_url)) as database:
        require_current(database)
        with database.reading() as connection:
            vault_id, copies = database.counter(connection).vault_id, read_roots(connection)
        root = unlocking.open(settings, copies, vault_id)
        # Only now: whoever types shares takes minutes, and a key may be replaced in them.
        with usable_keys(), database.reading() as connection:
            keyring = Keyring.unlock(vault_id, read_keys(connection), root)
        request = Request(actor=HOST, origin=own_origin(), now_us=_micros(clock()))
        return write_backup(
            database,
            keyring,
            request,
            log_folder=settings.checkpoint.parent,
            target=target,
            sealed_to=sealed_to,
            progress=progress,
        )


def restore(
    folder: Path,
    home: Path,
    *,
    identities: Sequence[SecretText],
    database_url: str = "",
    tables: str = "",
    options: Options = Options(),
) -> Restored:
    """Put a backup into the empty ``home`` and an empty database.

    In ``home`` there may be a folder ``keys`` with the key file, if one seals
    the root key. All of it happens or nothing. Raises ConflictError where
    something is already, InvalidInputError, TamperDetectedError,
    ApprovalRequiredError for a gap, AuthenticationError, UnavailableError.
    """
    home = home.absolute()
    found = require_readable(folder)
    opening = _identities(identities)
    require_vacant(home)
    made_here: list[Path] = []
    try:
        settings = make_home(home, database_url, wrapper_tables(tables), made_here)
        outside = _outside(options, folder / "checkpoint", folder / "tombstones")
        terms = _terms(options, outside, {"backup": found.manifest.backup, "manifest": found.digest})
        database = Database.open(settings.database_url)
    except BaseException:
        take_away(made_here)
        raise
    with closing(database):
        try:
            with _filling(database) as connection:
                counter, root = load(
                    database,
                    connection,
                    folder,
                    found,
                    identities=opening,
                    open_root=partial(options.unlocking.open, settings),
                    progress=options.progress,
                )
                settled = settle(connection, counter, root, _request(options), terms=terms)
                made_here += _keep(settings, settled.carried)
        except OutcomeUnknownError:
            # It may all be there.
            raise
        except BaseException:
            take_away(made_here)
            raise
        return _finish(settings, database, settled, options)


@contextmanager
def _filling(database: Database) -> Iterator[Connection]:
    """Give the one transaction that fills an empty database; leave it empty if that fails."""
    if not is_empty(database):
        raise ConflictError("the database is not empty: a backup is restored into an empty one")
    upgrade(database)
    try:
        with usable_keys(), database.writing() as connection:
            yield connection
    except OutcomeUnknownError:
        raise
    except BaseException:
        empty(database)
        raise


def restore_raw(settings: Settings, *, options: Options = Options()) -> Restored:
    """Settle a copy of the database that was put back by other means than ours.

    Stop every node first. Raises ConflictError when the database is not behind
    what the outside has seen, and otherwise as ``restore``.
    """
    with closing(Database.open(settings.database_url)) as database:
        require_current(database)
        with database.reading() as connection:
            counter = database.counter(connection)
            root = options.unlocking.open(settings, read_roots(connection), counter.vault_id)
        beside = OutsideCheckpoint(settings.checkpoint).tombstones
        outside = _outside(options, settings.checkpoint, beside)
        terms = _terms(options, outside, None)
        with usable_keys(), database.writing() as connection:
            counter = database.counter(connection)
            require_behind(connection, counter, root, outside)
            settled = settle(connection, counter, root, _request(options), terms=terms)
        _keep(settings, settled.carried)
        with suppress(FileNotFoundError):
            # The new log's first checkpoint takes its place; this one stays as evidence.
            settings.checkpoint.rename(_beside(settings.checkpoint))
        return _finish(settings, database, settled, options)


def read_identities(files: Sequence[Path]) -> list[SecretText]:
    """Return what is in files of identities. Raises InvalidInputError."""
    found = []
    for path in files:
        try:
            found.append(SecretText(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError):
            raise InvalidInputError(f"{path} cannot be read", field="--identity", rule="unreadable") from None
    return found


def shown(login: str, password: str, totp_code: str) -> Shown:
    """Return what somebody shows to vouch for a gap."""
    return Shown(login, SecretText(password), totp_code)


def _finish(settings: Settings, database: Database, settled: Settled, options: Options) -> Restored:
    """Have the log integrated up to the entry of the restore; every unit of it is verified by that."""
    done, keyring = settled.done, settled.done.new.keyring
    outside = OutsideCheckpoint(settings.checkpoint)
    if done.new.note is not None:
        outside.advance(done.new.note, parse_vkey(vkey(keyring.signer)))
    integrator = Integrator(database, outside)
    behind = True
    while behind:
        progress = integrator.integrate(keyring, _micros(options.clock()))
        behind = progress is not None and progress.behind
    return Restored(
        home=settings.home,
        vault_id=keyring.vault_id.hex(),
        log_index=settled.log_index,
        log_key=vkey(keyring.signer),
        log_before=done.new.before,
        replayed=done.replayed,
        ended=done.ended,
        undigested=done.undigested,
        officer="" if done.stays is None else done.stays.row.login,
        unanswered=tuple(one.subject for one in done.unanswered),
        gap=settled.gap,
        newer=settled.newer,
    )


def _keep(settings: Settings, carried: Carried) -> list[Path]:
    """Write the tombstone file; return what was written."""
    path = OutsideCheckpoint(settings.checkpoint).tombstones
    written = [path, head_path(path)]
    for file, data in zip(written, (carried.lines, carried.head), strict=True):
        replace_file(file, data)
    return written


def _outside(options: Options, checkpoint: Path, tombstones: Path) -> Outside:
    given = (options.checkpoint,) if options.checkpoint is not None else ()
    chosen = (options.tombstones,) if options.tombstones is not None else ()
    # Before the first erasure there is a head and nothing else.
    for path in (*given, *(path if path.exists() else head_path(path) for path in chosen)):
        if not path.is_file():
            raise InvalidInputError(f"there is no file {path}", field="file", rule="missing")
    return Outside(
        checkpoints=(*given, checkpoint),
        tombstones=(*chosen, tombstones),
        keys=tuple(map(_log_key, options.log_keys)),
    )


def _log_key(text: str) -> NoteKey:
    try:
        return parse_vkey(text.strip())
    except ValueError:
        raise InvalidInputError("not the public key of a log", field="--log-key", rule="vkey") from None


def _terms(options: Options, outside: Outside, source: Mapping[str, str] | None) -> Terms:
    return Terms(
        outside=outside,
        passwords=options.passwords or Passwords(),
        now_us=lambda: _micros(options.clock()),
        vouch=options.vouch,
        officer=options.officer,
        source=source,
        progress=options.progress,
    )


def _request(options: Options) -> Request:
    return Request(actor=HOST, origin=own_origin(), now_us=_micros(options.clock()))


def _require_elsewhere(settings: Settings, target: Path) -> None:
    """Refuse a place that is beside the vault, or would hold what opens its root key."""
    real = target.resolve()
    if real.is_relative_to(settings.home.resolve()) or settings.root_key.resolve().is_relative_to(real):
        raise InvalidInputError("a backup has its place elsewhere than the vault", field="out", rule="inside")


def _recipients(texts: Sequence[str], field: str) -> Recipients:
    try:
        return Recipients(texts)
    except MalformedError as error:
        detail = "a backup is sealed to recipients (age1…); without one nobody could open it"
        raise InvalidInputError(detail, field=field, rule=error.rule) from None


def _identities(files: Sequence[SecretText]) -> Identities:
    try:
        return Identities(files)
    except MalformedError as error:
        detail = "what opens a backup is a file of identities (AGE-SECRET-KEY-…)"
        raise InvalidInputError(detail, field="--identity", rule=error.rule) from None


def _beside(path: Path) -> Path:
    """Return a name that nothing has yet for a checkpoint that was verified: of its own log and size."""
    log, size = path.read_text(encoding="utf-8").splitlines()[:2]
    name = f"{path.name}.of-{log.replace('/', '-')}-{size}"
    names = (path.with_name(name if at == 0 else f"{name}.{at}") for at in count())
    return next(one for one in names if not one.exists())


def _micros(now: datetime) -> int:
    return int(now.timestamp() * 1_000_000)
