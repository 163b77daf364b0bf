"""No test reaches beyond this machine: it connects over loopback or a local socket, or not at all.

An audit hook, because it also sees what a library does below ``socket.socket``, and no test can take it off.
The client library of PostgreSQL is C and is not seen; the tests give it socket folders only.
"""

from __future__ import annotations

import ipaddress
import socket
import sys

_LOCAL_NAMES = frozenset({"", "localhost", "testserver"})


class NetworkRefusedError(RuntimeError):
    """A test tried to reach another machine. No ``OSError``, so nothing takes it for a lost connection."""


def is_local(host: object) -> bool:
    """Return whether ``host``, a name or an address, names this machine."""
    if host is None:
        return True
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name in _LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def refuse_remote(event: str, arguments: tuple[object, ...]) -> None:
    """Raise :class:`NetworkRefusedError` where an audited ``event`` would reach another machine."""
    if event in {"socket.connect", "socket.sendto"}:
        connection, address = arguments[0], arguments[1]
        families = {socket.AF_INET, socket.AF_INET6}
        if isinstance(connection, socket.socket) and connection.family not in families:
            return
        host = address[0] if isinstance(address, tuple) else address
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if not is_local(host):
        raise NetworkRefusedError(f"{event} to {host!s}: tests reach nothing but this machine")


def install() -> None:
    """Guard this process from now on."""
    sys.addaudithook(refuse_remote)
