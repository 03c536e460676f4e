"""Allowed hosts: a request that names another host in its Host header is refused.

1. The host is the one the client asked for, as `proxies` found it, in lower case and without a trailing dot.
2. `example.com` is that name alone. `*.example.com` is every name below it, at any depth, and not `example.com`.
3. An entry without a port allows every port. `example.com:8443` allows that port only.
4. A request that names no host, or none that is well-formed, is refused like one that names a strange host.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final, Self, Unpack

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from starlette.types import ASGIApp

from secguard._http import DEFAULT_PORTS, LONGEST_HOST, Host, names_above, parse_host
from secguard._memory import Known
from secguard._origins import ADDRESS, WILDCARD, ascii_form
from secguard.guard import Guard
from secguard.policy import Context, ContextOptions, Exchange, Policy, RefusingSection, Verdict
from secguard.policy.section import COMMAS, Several

LOOPBACK: Final = ("localhost", "*.localhost", "127.0.0.1", "[::1]", "testserver")

_MOST_REMEMBERED: Final = 1024


def _check_entry(entry: str) -> str:
    """Return the entry in the form it is compared in, or raise the start-up error that says what is wrong with it."""
    wildcard = WILDCARD if entry.startswith(WILDCARD) else ""
    name = entry.removeprefix(wildcard)
    host = parse_host(name.encode("ascii", "replace"))
    if (problem := _clumsy(entry)) or host is None or (problem := _pointless(wildcard, host)):
        problem = problem or "it is no name, address, or either with a port: write it like example.com or [::1]:8443"
        raise PydanticCustomError("host-entry", "{entry}: {problem}", {"entry": repr(entry), "problem": problem})
    return f"{wildcard}{host}"


def _clumsy(entry: str) -> str:
    """Say what is wrong with an entry that is something else than a host, as far as that can be recognised."""
    if not entry:
        return "it is empty"
    if "://" in entry:
        return f"it has a scheme: write {entry.partition('://')[2].partition('/')[0]}"
    if "/" in entry:
        return f"it has a path: write {entry.partition('/')[0]}"
    if any(letter.isspace() for letter in entry):
        return "it has a blank in it: give each host an entry of its own"
    if not entry.isascii():
        return f"browsers send its ASCII form (RFC 5890 section 2.3.2.1): write {ascii_form(entry)}"
    if "*" in entry.removeprefix(WILDCARD):
        return "only *.example.com stands for several names" + (
            ", and to allow every host, switch the section off: SECGUARD_HOSTS=off" if entry == "*" else ""
        )
    if entry.count(":") > 1 and parse_host(f"[{entry}]".encode()):
        return f"an IPv6 address stands in brackets: write [{entry}]"
    return ""


def _pointless(wildcard: str, host: Host) -> str:
    """Say why no request would ever match."""
    if wildcard and ADDRESS.fullmatch(host.name):
        return f"an address has no subdomains: write {host}"
    if host.port in DEFAULT_PORTS:
        return f"clients leave the scheme's own port out (RFC 9110 section 4.2.3): write {wildcard}{host.name}"
    return ""


class HostsSettings(RefusingSection):
    """Which hosts the app answers to.

    Raises:
        ValidationError: an entry is no host (`host-entry`), or there is none.

    Example:
        >>> HostsSettings(allowed=["example.com", "*.Example.com", "[::1]:8443"]).allowed
        ('example.com', '*.example.com', '[::1]:8443')
    """

    allowed: Annotated[Several[Annotated[str, AfterValidator(_check_entry)]], COMMAS, Field(min_length=1)]
    """Exact names, addresses, or `*.example.com` for the names below; each with a port where only that one will do."""

    @classmethod
    def loopback(cls) -> Self:
        """Return the section that development uses where none is set: names that only this machine answers to.

        They are the loopback names (RFC 6761 section 6.3) and addresses, and the name that Starlette's TestClient uses.

        Example:
            >>> HostsSettings.loopback().allowed
            ('localhost', '*.localhost', '127.0.0.1', '[::1]', 'testserver')
        """
        return cls(allowed=LOOPBACK)


class HostsPolicy(Policy):
    """Refuses requests for other hosts with 400: Event `hosts.unknown`.

    Example:
        >>> policy = HostsPolicy(HostsSettings(allowed=["example.com"]))
        >>> policy.admit(exchange).status
        400
    """

    def __init__(self, section: HostsSettings, context: Context | None = None) -> None:
        super().__init__(context)
        self.section = section
        self._exact = frozenset(entry for entry in section.allowed if not entry.startswith(WILDCARD))
        # Host lines that name an allowed one, where nobody's word about another host is taken.
        self._welcome = Known[bytes](most=_MOST_REMEMBERED, longest=LONGEST_HOST)
        self._remembers = not self.context.resolver.trusts
        self._above = frozenset(entry.removeprefix(WILDCARD) for entry in section.allowed if entry not in self._exact)

    def admit(self, exchange: Exchange) -> Verdict:
        """Let the request pass if its host is allowed."""
        named = exchange.headers.get(b"host")
        if named in self._welcome:
            return None
        host = exchange.host
        if host is None:
            return self._refuse(exchange, "the request names no well-formed host (RFC 9110 section 7.2)")
        if not self._allows(host):
            return self._refuse(exchange, "the host is not in hosts.allowed (SECGUARD_HOSTS__ALLOWED)", host=str(host))
        if self._remembers and named is not None:
            self._welcome.remember(named)
        return None

    def _allows(self, host: Host) -> bool:
        if host.name in self._exact or self._below_an_entry(host.name):
            return True
        return host.port is not None and (str(host) in self._exact or self._below_an_entry(str(host)))

    def _below_an_entry(self, name: str) -> bool:
        return any(above in self._above for above in names_above(name))

    def _refuse(self, exchange: Exchange, reason: str, **detail: object) -> Verdict:
        return self.context.refuse(exchange, HTTPStatus.BAD_REQUEST, "hosts.unknown", reason, **detail)


class HostsMiddleware(Guard):
    """The check alone, for any ASGI 3 app. Its keywords are the fields of `Context`.

    Example:
        >>> app.add_middleware(HostsMiddleware, settings=HostsSettings(allowed=["example.com"]))
    """

    def __init__(self, app: ASGIApp, settings: HostsSettings, **options: Unpack[ContextOptions]) -> None:
        super().__init__(app, policies=[HostsPolicy(settings, Context(**options))])
