"""Networks: one grammar for them, and sets of a million that are asked in a microsecond or two.

1. An entry is an address or a network in CIDR notation (RFC 4632 section 3.1, RFC 4291 section 2.3), in any spelling of
   the address. One with host bits is a mistake: the network may be meant, or the one address.
2. An IPv4-mapped network (RFC 4291 section 2.5.5.2) is IPv4, as mapped clients are. Zone ids belong to one machine
   (RFC 4007 section 11), and are no part of an entry.
3. A set keeps sorted ranges that do not overlap, in arrays: a lookup is a binary search, an entry a few bytes.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import lru_cache, partial
from heapq import merge
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final, Protocol, TypeAlias

from pydantic_core import PydanticCustomError

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_PREFIX: Final = re.compile(r"0|[1-9][0-9]{0,2}")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_MAPPED_HIGH: Final = 0xFFFF  # what stands in front of the IPv4 address there
_LONGEST_SHOWN: Final = 60  # characters of an entry: the longest that is right has 49


def check_network(entry: str, *, also: str = "") -> str:
    """Return the entry in one spelling, or raise the start-up error that says what to write.

    `also` is a word that the section takes too; the error names it.

    Example:
        >>> check_network("::FFFF:10.0.0.0/104")
        '10.0.0.0/8'
    """
    head, slash, prefix = entry.partition("/")
    try:
        if "%" in head or (slash and not _PREFIX.fullmatch(prefix)):
            raise ValueError
        network = ip_network(entry, strict=False)
        address = ip_address(head)
    except ValueError:
        raise PydanticCustomError(
            "cidr-malformed",
            "{entry} is no address and no network: write it like 10.0.0.0/8, 192.0.2.7{also} or 2001:db8::/32",
            {"entry": _shown(entry), "also": f", {also}" if also else ""},
        ) from None
    if network.network_address != address:
        raise PydanticCustomError(
            "cidr-host-bits",
            "{entry} has host bits: write {network} for the network, or {address} for the one address",
            {"entry": entry, "network": str(network), "address": str(address)},
        )
    network = _unmapped(network)
    return str(network) if network.num_addresses > 1 else str(network.network_address)


def check_once(field: str, entries: Iterable[str]) -> None:
    """Raise the start-up error where an entry stands there twice; they are in one spelling by now."""
    seen = set()
    for entry in entries:
        if entry in seen:
            raise PydanticCustomError(
                "cidr-twice", "{field} names {entry} twice: keep one", {"field": field, "entry": entry}
            )
        seen.add(entry)


def _shown(entry: str) -> str:
    return repr(entry if len(entry) <= _LONGEST_SHOWN else entry[:_LONGEST_SHOWN] + "…")


def _unmapped(network: Network) -> Network:
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - 96))
    return network


class AddressSet(Protocol):
    """What can be asked whether it holds an address, given as `exchange.client` is."""

    def __contains__(self, address: Address, /) -> bool:
        """Whether it does."""


class NetworksError(ValueError):
    """Lines that are no networks. The message tells of the first ten by number, and how many more there are.

    Example:
        >>> try:
        ...     Networks(["10.0.0.0/8", "10.0.0.1/8"])
        ... except NetworksError as error:
        ...     print(error)
        line 2: 10.0.0.1/8 has host bits: write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address
    """


class Networks:
    """An immutable set of networks, made of lines with one network each. `#` begins a comment; blank lines say nothing.

    `address in networks` asks for an address as `exchange.client` is: IPv4 where it was mapped, and without a zone id.
    `len(networks)` counts the lines that name one.

    Raises:
        NetworksError: lines are no networks; the message tells of all of them.

    Example:
        >>> office = Networks(["10.0.0.0/8  # the office", "2001:db8::/32"])
        >>> IPv4Address("10.1.2.3") in office
        True
    """

    __slots__ = ("_count", "_holds_v4", "_holds_v6")

    def __init__(self, lines: Iterable[str] = ()) -> None:
        runs, self._count = _read(lines)
        starts, ends = array("I"), array("I")
        starts_v6, ends_v6 = (array("Q"), array("Q")), (array("Q"), array("Q"))
        last = -1
        # Sorted in short runs and merged, for one long sort would keep every other thread waiting while it lasts.
        for code in merge(*runs):
            first = code >> _WIDTH_BITS
            end = first + (1 << (_WIDEST - (code & _WIDEST))) - 1
            if end <= last:
                continue  # networks are nested or apart, and the wider come first: this one lies within the last
            last = end
            if first < _V6:
                starts.append(first)
                ends.append(end)
            else:
                starts_v6[0].append((first >> 64) - _V6_HIGH)
                starts_v6[1].append(first & _LOW)
                ends_v6[0].append((end >> 64) - _V6_HIGH)
                ends_v6[1].append(end & _LOW)
        # An address that asks once will ask again. The key is its number: an address is slow to hash.
        self._holds_v4 = lru_cache(maxsize=4096)(partial(_holds_v4, starts, ends))
        self._holds_v6 = lru_cache(maxsize=4096)(partial(_holds_v6, *starts_v6, *ends_v6))

    def __contains__(self, address: Address, /) -> bool:
        return (self._holds_v4 if address.version == 4 else self._holds_v6)(int(address))

    def __len__(self) -> int:
        return self._count


def _holds_v4(starts: array[int], ends: array[int], value: int) -> bool:
    at = bisect_right(starts, value)
    return at > 0 and value <= ends[at - 1]


def _holds_v6(starts: array[int], starts_low: array[int], ends: array[int], ends_low: array[int], value: int) -> bool:
    high, low = value >> 64, value & _LOW
    at = bisect_right(starts, high)
    if at and starts[at - 1] == high and starts_low[at - 1] > low:  # of several ranges in one /64, the last is too far
        at = bisect_right(starts_low, low, bisect_left(starts, high, 0, at), at)
    return at > 0 and (high, low) <= (ends[at - 1], ends_low[at - 1])


# A network is one number while it is read: whether it is IPv6, its address, and then its width, the widest first.
_WIDTH_BITS: Final = 8
_WIDEST: Final = 0xFF
_V6: Final = 1 << 128
_V6_HIGH: Final = _V6 >> 64
_LOW: Final = (1 << 64) - 1
_FREE_V4: Final = {str(prefix): 32 - prefix for prefix in range(33)}
_FREE_V6: Final = {str(prefix): 128 - prefix for prefix in range(129)}

_RUN: Final = 16384  # networks that are sorted in one go
_MOST_TOLD: Final = 10


def _read(lines: Iterable[str]) -> tuple[list[list[int]], int]:
    """Return the networks in sorted runs, and their count."""
    runs: list[list[int]] = []
    run: list[int] = []
    mistakes: list[str] = []
    wrong = count = 0
    for number, line in enumerate(lines, 1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        try:
            run.append(_encode(entry))
        except (OSError, ValueError, KeyError):
            try:  # for what is wrong with it, if anything: platforms' own readers differ
                run.append(_encode(check_network(entry)))
            except PydanticCustomError as error:
                wrong += 1
                if wrong <= _MOST_TOLD:
                    mistakes.append(f"line {number}: {error.message()}")
                continue
        count += 1
        if len(run) == _RUN:
            run.sort()
            runs.append(run)
            run = []
    if wrong:
        more = [f"and {wrong - _MOST_TOLD} more"] if wrong > _MOST_TOLD else []
        raise NetworksError("; ".join([*mistakes, *more]))
    run.sort()
    return [*runs, run], count


def _encode(entry: str) -> int:
    """Return the number of a network, a few times faster than `check_network`, and with no word on what is wrong."""
    head, slash, prefix = entry.partition("/")
    if ":" not in head:
        free = _FREE_V4[prefix if slash else "32"]
        value = int.from_bytes(inet_pton(AF_INET, head))
    else:
        free = _FREE_V6[prefix if slash else "128"]
        value = int.from_bytes(inet_pton(AF_INET6, head))
        if value >> 32 == _MAPPED_HIGH:
            value &= 0xFFFF_FFFF
        else:
            value += _V6
    if value & ((1 << free) - 1):
        raise ValueError
    return value << _WIDTH_BITS | (_WIDEST - free)
