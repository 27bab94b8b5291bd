"""Which addresses a webhook may be sent to: those of the public Internet, and what the operator allows.

    whyever_not("10.0.0.7", ())                       "it is not a public address"
    whyever_not("10.0.0.7", allowed("10.0.0.0/8"))  None: it may

Whoever can make a webhook would otherwise have this server knock at the doors of its own network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Besides what `is_global` knows, which differs between versions of Python: what carries another address within it
# (v4-mapped, v4-compatible, NAT64, 6to4, Teredo), and what is no single host on the Internet.
_NEVER: Final[Sequence[Network]] = tuple(
    ipaddress.ip_network(each)
    for each in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23",
        "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip


def allowed(networks: str) -> tuple[Network, ...]:
    """Raises ValueError, which names what is no network."""
    return tuple(ipaddress.ip_network(each.strip()) for each in networks.split(",") if each.strip())


def whyever_not(address: str, allow: Sequence[Network]) -> str | None:
    """Why nothing is sent there; None: it may be."""
    if "%" in address:
        return "it is of one network interface"
    found = ipaddress.ip_address(address)
    if any(found in each for each in allow):
        return None
    if any(found in each for each in _NEVER) or not found.is_global or found.is_multicast:
        return "it is not a public address"
    return None
