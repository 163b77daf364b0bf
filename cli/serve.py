"""``piivault serve``: the vault over HTTP, until it is told to stop."""

from __future__ import annotations

import functools
import gc
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.command import add
from cli.errors import INTERRUPTED
from cli.local.homes import Home, home_of
from cli.local.unsealing import UnsealFd, asker
from cli.output import Output
from vault.domain.errors import InvalidInputError, UnavailableError, VaultError

if TYPE_CHECKING:
    # FastAPI and the vault take half a second to load, which no other command has to wait for.
    from vault.assembly import Ask
    from vault.settings import Settings

STARTUP_FAILED: Final = 3
"""What the supervisor of several workers takes as: starting it again would not help."""

Host = Annotated[
    str | None, typer.Option("--host", help="Address to listen on; else the one of the settings.")
]
Port = Annotated[int | None, typer.Option("--port", min=0, max=65_535, help="Port; 0 takes a free one.")]
Certificate = Annotated[Path | None, typer.Option("--certificate", help="TLS certificate chain, PEM.")]
PrivateKey = Annotated[Path | None, typer.Option("--private-key", help="Its private key, PEM.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, max=64, help="Processes; more than one needs PostgreSQL.")
]


def add_to(app: typer.Typer) -> None:
    """Add ``serve``."""
    add(
        app,
        "serve",
        serve,
        "piivault serve",
        "piivault serve --home /srv/piivault --host 0.0.0.0 --certificate chain.pem --private-key key.pem",
        "piivault serve --home /srv/piivault --unseal-fd 3 3< passphrase.txt",
    )


def serve(
    out: Output,
    *,
    home: Home = None,
    host: Host = None,
    port: Port = None,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    workers: Workers = None,
    unseal_fd: UnsealFd = None,
) -> None:
    """Serve the vault over HTTPS until it is interrupted or terminated.

    Without a certificate it listens on this host alone. Asks for the passphrase
    or the shares, if that is what seals the root key; where nobody can be asked
    it starts sealed and waits for "piivault unseal".
    """
    from vault.settings import Settings

    given: dict[str, Any] = {
        "host": host,
        "port": port,
        "certificate": certificate,
        "private_key": private_key,
        "workers": workers,
    }
    settings = Settings.load(home_of(home))
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})

    announced = False

    def announce(url: str) -> None:
        nonlocal announced
        announced = True
        if out.as_json:
            out.document({"url": url})
        else:
            out.line(f"listening on {url}")
            sys.stdout.flush()

    try:
        run_server(settings, announce, asker(unseal_fd))
    except KeyboardInterrupt:
        if not announced:
            raise
        # It has served, and has closed the vault in order: that is how it ends, and no failure.
        raise typer.Exit(INTERRUPTED) from None


def run_server(settings: Settings, announce: Callable[[str], None], ask: Ask | None = None) -> None:
    """Serve until a signal says stop; then finish what is under way and close the vault.

    ``announce`` gets the address when connections are accepted. Raises
    InvalidInputError for settings that would be unsafe or cannot work,
    UnavailableError when the address is taken, and what opening a vault raises.
    """
    from api.listener import Server, server_config

    require_safe(settings)
    config = server_config(
        functools.partial(application, settings, ask),
        certificate=settings.certificate,
        private_key=settings.private_key,
        workers=settings.workers or 1,
    )
    with closing(_bound(settings)) as listener:
        url = _url(settings, listener)
        if settings.workers > 1:
            _supervise(settings, config, listener, functools.partial(announce, url))
        else:
            Server(config, functools.partial(announce, url)).run(sockets=[listener])


def application(settings: Settings, ask: Ask | None = None) -> Any:
    """Return the application of a newly opened vault; the server starts and closes it."""
    from api.app import build_app
    from cli.memory import keep_to_itself
    from vault.assembly import nobody
    from vault.assembly.serving import open_to_serve

    keep_to_itself()
    served = build_app(open_to_serve(settings, ask=ask or nobody), settings.unseal_networks)
    # A batch makes thousands of values that live for a moment. Searching everything loaded for cycles
    # after each few hundred of them costs a tenth of the work and finds nothing.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    return served


def worker_application(settings: Settings) -> Any:
    """Return ``application``; where that cannot be, end this worker in the way its supervisor understands."""
    try:
        return application(settings)
    except VaultError as error:
        sys.stderr.write(f"{error.code}: {error.detail}\n")
        sys.exit(STARTUP_FAILED)


def require_safe(settings: Settings) -> None:
    """Refuse a plaintext listener off loopback, half a certificate, and workers without PostgreSQL."""
    if (settings.certificate is None) is not (settings.private_key is None):
        raise _refused("server.private_key", "required", "certificate and private key go together")
    if settings.certificate is None and not _is_loopback(settings.host):
        raise _refused(
            "server.certificate",
            "plaintext",
            "off loopback the vault is served over TLS only; give a certificate and its private key",
        )
    for field, path in (("certificate", settings.certificate), ("private_key", settings.private_key)):
        if path is not None and not path.is_file():
            raise _refused(f"server.{field}", "missing", "there is no such file")
    if settings.workers > 1 and not settings.database_url.startswith("postgresql"):
        raise _refused("server.workers", "sqlite", "several workers need PostgreSQL")


def _supervise(
    settings: Settings, config: Any, listener: socket.socket, announce: Callable[[], None]
) -> None:
    """Run one process per worker."""
    from uvicorn.supervisors import Multiprocess

    from cli.memory import keep_to_itself
    from vault.assembly.serving import open_to_serve

    keep_to_itself()
    # Once here, so that what would fail in every worker fails as one error.
    with closing(open_to_serve(settings)) as vault:
        state = vault.unsealing.state()
        if state.by_people:
            raise _needs_one(state.holder)
    config.app = functools.partial(worker_application, settings)
    announce()
    Multiprocess(config, sockets=[listener]).run()


def _needs_one(what: str) -> InvalidInputError:
    # Each worker, and each that takes the place of one, would have to be given it again, and nobody could
    # say which one a request to unseal reaches.
    return _refused(
        "server.workers", "asks", f"the root key needs its {what}: only one process can be given it"
    )


def _bound(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2_048)
    except OSError:
        raise UnavailableError(f"cannot listen on {settings.host} port {settings.port}") from None
    listener.set_inheritable(True)
    return listener


def _url(settings: Settings, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'http' if settings.certificate is None else 'https'}://{host}:{port}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _refused(field: str, rule: str, detail: str) -> InvalidInputError:
    return InvalidInputError(f"{field}: {detail}", field=field, rule=rule)
