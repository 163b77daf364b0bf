"""Networks that a grant or a service is limited to."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from vault.domain.errors import InvalidInputError

Network = IPv4Network | IPv6Network

MAX_NETWORKS: Final = 50

SOURCE_PREFIX: Final = 64
"""An IPv6 customer gets at least a /64, so one address of it is not a source of its own."""


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks of ``texts`` (CIDR or a single address), once each and in order.

    Raises InvalidInputError for one that is not, has host bits set, or for too many.
    """
    try:
        networks = {ip_network(text) for text in texts}
    except ValueError:
        raise InvalidInputError("not a network in CIDR form", field="networks", rule="cidr") from None
    if len(networks) > MAX_NETWORKS:
        raise InvalidInputError("too many networks", field="networks", rule="count")
    return tuple(sorted(networks, key=lambda network: (network.version, network)))


def within(address: str, networks: tuple[Network, ...]) -> bool:
    """Say whether ``address`` is in one of ``networks``; with none there is no limit."""
    if not networks:
        return True
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in networks)


def source_of(address: str) -> str:
    """Return what counts as one source: an IPv4 address, an IPv6 /64, or the text itself."""
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, SOURCE_PREFIX), strict=False))
    return address if parsed is None else str(parsed)


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    # A dual-stack listener sees IPv4 peers as ::ffff:a.b.c.d; they are the same peer.
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed
