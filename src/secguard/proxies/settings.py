"""The `proxies` section."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from secguard._http import is_field_name
from secguard.policy import Direct, Resolver, Section
from secguard.policy.section import COMMAS, Several
from secguard.proxies.resolver import Notice, ProxyResolver

UNIX: Final = "unix"
FORWARDED: Final = "forwarded"

_PREFIX: Final = re.compile(r"0|[1-9][0-9]{0,2}")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")  # RFC 4291 section 2.5.5.2
_EVERYBODY: Final = {"0.0.0.0/0", "::/0"}


def _check_trusted(entry: str) -> str:
    """Return the entry in one spelling, or raise the start-up error that says what is wrong with it."""
    if entry == UNIX:
        return entry
    if entry == "*":
        raise PydanticCustomError(
            "proxies-everybody",
            "* would let every client choose its own address: name the proxies, such as 10.0.0.0/8",
        )
    head, slash, prefix = entry.partition("/")
    try:
        if "%" in head or (slash and not _PREFIX.fullmatch(prefix)):
            raise ValueError
        network = ip_network(entry, strict=False)
        address = ip_address(head)
    except ValueError:
        raise PydanticCustomError(
            "cidr-malformed",
            "{entry} is no address and no network: write it like 10.0.0.0/8, 192.0.2.7, 2001:db8::/32 or unix",
            {"entry": repr(entry)},
        ) from None
    if network.network_address != address:
        raise PydanticCustomError(
            "cidr-host-bits",
            "{entry} has host bits: write {network} for the network, or {address} for the one address",
            {"entry": entry, "network": str(network), "address": str(address)},
        )
    network = _unmapped(network)
    return str(network) if network.num_addresses > 1 else str(network.network_address)


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - 96))
    return network


def _check_name(name: str) -> str:
    if not (name.isascii() and is_field_name(name.encode())):
        raise PydanticCustomError("header-name", "{name} is no header name", {"name": repr(name)})
    return name.lower()


HeaderName = Annotated[str, AfterValidator(_check_name)]


class ProxiesSettings(Section):
    """Whose word about the client is taken, and which headers carry it.

    Raises:
        ValidationError: an entry of `trusted` is no address or network (`cidr-malformed`, `cidr-host-bits`), stands
            there twice (`cidr-twice`) or trusts everybody (`proxies-everybody`); `proto` or `host` is set and nobody
            is trusted (`proxies-nobody`); or headers of both kinds are mixed (`proxies-mixed`).

    Example:
        >>> ProxiesSettings(trusted=["10.0.0.0/8", "unix"], proto="X-Forwarded-Proto").proto
        'x-forwarded-proto'
    """

    trusted: Annotated[Several[Annotated[str, AfterValidator(_check_trusted)]], COMMAS] = ()
    """Networks (CIDR) and addresses of the proxies; `unix` for whoever connects through a unix socket."""
    header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """Where the addresses stand. The other one is not read."""
    proto: HeaderName | None = None
    """The header with the client's scheme, such as `x-forwarded-proto`; `forwarded` for its `proto` parameter."""
    host: HeaderName | None = None
    """The header with the host asked for, such as `x-forwarded-host`; `forwarded` for its `host` parameter."""
    max_hops: int = Field(default=5, ge=1, le=64)
    """How many entries are read at most: the number of proxies that a request may pass."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for entry in self.trusted:
            if self.trusted.count(entry) > 1:
                raise PydanticCustomError("cidr-twice", "trusted names {entry} twice: keep one", {"entry": entry})
            if entry in _EVERYBODY and "max_hops" not in self.model_fields_set:
                raise PydanticCustomError(
                    "proxies-everybody",
                    "{entry} trusts everybody, and a client could then choose its own address: name the proxies, or "
                    "set max_hops to the exact number of them that every request passes",
                    {"entry": entry},
                )
        for field, name in (("proto", self.proto), ("host", self.host)):
            if name and not self.trusted:
                raise PydanticCustomError(
                    "proxies-nobody",
                    "{field} names {name}, and nobody is trusted to send it: set trusted (SECGUARD_PROXIES__TRUSTED)",
                    {"field": field, "name": name},
                )
            if name and (name == FORWARDED) is not (self.header == FORWARDED):
                raise PydanticCustomError(
                    "proxies-mixed",
                    "{field} names {name}, and addresses are read from {header}: a proxy sets one kind and passes the "
                    "other on as clients wrote it. Write {field}={remedy}",
                    {
                        "field": field,
                        "name": name,
                        "header": self.header,
                        "remedy": FORWARDED if self.header == FORWARDED else f"x-forwarded-{field}",
                    },
                )
        return self

    def resolver(self, notice: Notice | None = None) -> Resolver:
        """Return what finds out the client, scheme and host of a request.

        It tells `notice` (a Context's method of that name; by default it writes to the log) of what it had to ignore.

        Example:
            >>> context = Context(resolver=ProxiesSettings(trusted=["10.0.0.1"]).resolver())
        """
        if not self.trusted:
            return Direct()
        return ProxyResolver(
            [ip_network(entry) for entry in self.trusted if entry != UNIX],
            unix=UNIX in self.trusted,
            header=self.header,
            proto=self.proto,
            host=self.host,
            max_hops=self.max_hops,
            notice=notice,
        )
