"""The `proxies` section."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from secguard._http import is_field_name
from secguard._networks import check_network, check_once
from secguard.policy import Direct, Resolver, Section
from secguard.policy.section import COMMAS, Several
from secguard.proxies.resolver import Notice, ProxyResolver

UNIX: Final = "unix"
FORWARDED: Final = "forwarded"

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
    return check_network(entry, also=UNIX)


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
        check_once("trusted", self.trusted)
        for entry in self.trusted:
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
