"""Addresses, as the other end of a socket is written."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

LONGEST_ADDRESS: Final = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")


def parse_address(text: str | None) -> Address | None:
    """Read an address: zone id stripped (RFC 4007 section 11), `::ffff:0:0/96` taken as IPv4, None where it is none."""
    bare = (text or "").partition("%")[0]
    return _parse_address(bare) if len(bare) <= LONGEST_ADDRESS else None


@lru_cache(maxsize=4096)
def _parse_address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
