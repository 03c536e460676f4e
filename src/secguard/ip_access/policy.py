"""The policy that refuses by address, and the middleware that holds nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, TypeAlias, Unpack

from starlette.types import ASGIApp

from secguard._memory import Known
from secguard._networks import Address, AddressSet, Networks
from secguard._paths import PathRules
from secguard.guard import Guard
from secguard.ip_access.lists import NetworkFile, NetworkList
from secguard.ip_access.settings import Entry, File, IPAccessFields, IPAccessSettings
from secguard.ip_access.watch import Watch
from secguard.policy import Context, ContextOptions, Exchange, Policy, Reply, Verdict
from secguard.policy.address import LONGEST_ADDRESS

_List: TypeAlias = tuple[str, AddressSet]
_MOST_REMEMBERED: Final = 4096

_DENIED: Final = "the address is in a deny list"
_STRANGER: Final = "the address is in no allow list"
_NOBODY: Final = "nobody may come in: no allow list says who"
_UNKNOWN: Final = (
    "the client has no address that a list could be asked for; behind a proxy on a unix socket, set "
    'SECGUARD_PROXIES__TRUSTED=unix, and in tests TestClient(app, client=("127.0.0.1", 50000))'
)


@dataclass(frozen=True, slots=True)
class _Place:
    """What the section, or one rule of it, says. `allow` is None where everybody may come in who is not denied."""

    detail: dict[str, object]
    deny: tuple[_List, ...]
    allow: tuple[AddressSet, ...] | None

    def admits(self, client: Address) -> bool:
        return self.allow is None or any(client in held for held in self.allow)


class IPAccessPolicy(Policy):
    """Refuses clients by their address: Events `ip_access.denied`, `ip_access.not-allowed`, `ip_access.unknown`.

    1. The address is `exchange.client`: what `proxies` found, and nothing that a client can write.
    2. Whoever is in a `deny` list is refused: the section's, and that of every rule that matches.
    3. Who may come in is said by the most specific rule that matches, alone, or by the section where none does.
    4. A rule is asked for every path that the request may be served as, and each of them has a say. It can open what
       the section, or a rule for more paths, has closed: for that, only the path as it is routed counts.
    5. Who has no address is refused wherever there is a list to ask.

    Example:
        >>> policy = IPAccessPolicy(IPAccessSettings(rules=[IPAccessRule(paths=["/admin"], allow=["10.0.0.0/8"])]))
        >>> policy.admit(exchange).status  # from 203.0.113.9, for /admin/users
        403
    """

    section: IPAccessSettings

    def __init__(self, section: IPAccessSettings, context: Context | None = None) -> None:
        super().__init__(context)
        self.section = section
        parts: list[IPAccessFields] = [section, *section.rules]
        self.watch = Watch((file for part in parts for file in part.files), self.context)
        self._watches = any(part.files for part in parts)
        self._everywhere = (self._place(section, {}, is_open=not section.selects),)
        self._by_rule = [self._place(rule, {"rule": ", ".join(rule.paths)}) for rule in section.rules]
        self._patterns = PathRules(rule.paths for rule in section.rules)
        # Addresses as the server writes them, of clients that may come in everywhere; where nobody else has a word.
        self._welcome = _nobody()
        self._remembers = not self.context.resolver.trusts and not any(part.is_live for part in parts)
        self._is_plain = not self._watches and not self._by_rule
        self._status = HTTPStatus(section.refusal)
        self._admits_unknown = section.allow_unknown_clients

    def _place(self, fields: IPAccessFields, detail: dict[str, object], *, is_open: bool = False) -> _Place:
        allow = tuple(held for _, held in self._lists("allow", fields.allow, fields.allow_files))
        return _Place(detail, tuple(self._lists("deny", fields.deny, fields.deny_files)), None if is_open else allow)

    def _lists(self, name: str, entries: Sequence[Entry], files: Sequence[File]) -> Iterator[_List]:
        """Yield what holds the addresses of a field and of its files, each with the name that an Event has for it."""
        if written := [entry for entry in entries if isinstance(entry, str)]:
            yield name, Networks(written)
        yield from ((name, entry) for entry in entries if isinstance(entry, NetworkList))
        yield from ((f"{name}_files: {file}", self.watch.of(file)) for file in files if isinstance(file, NetworkFile))

    def admit(self, exchange: Exchange) -> Verdict:
        """Let the request pass if its client may come in."""
        address = exchange.address
        if self._is_plain and address and address[0] in self._welcome:
            return None
        if self._watches and self.watch.look():
            self._welcome = _nobody()
        welcome = self._welcome  # this one to the end: who was asked for in an old list is not welcome under a new one
        places: Sequence[_Place] = self._everywhere
        deciding: Sequence[_Place] = places
        if self._by_rule:
            places, deciding = self._matching(exchange)
        if places is self._everywhere and address and address[0] in welcome:
            return None
        client = exchange.client
        if client is None:
            return self._judge_unknown(exchange, places, deciding)
        for place in places:
            for name, held in place.deny:
                if client in held:
                    return self._refuse(exchange, "ip_access.denied", _DENIED, place, list=name)
        for place in deciding:
            if not place.admits(client):
                return self._refuse(exchange, "ip_access.not-allowed", _STRANGER if place.allow else _NOBODY, place)
        if self._remembers and places is self._everywhere and exchange.peer:
            welcome.remember(exchange.peer)
        return None

    def _matching(self, exchange: Exchange) -> tuple[Sequence[_Place], Sequence[_Place]]:
        """Return the places whose `deny` holds, and those that decide who may come in."""
        routed = self._patterns.match((exchange.routed,))
        if not routed and len(exchange.paths) == 1:  # which is what most requests are
            return self._everywhere, self._everywhere
        held = dict.fromkeys(routed)
        deciding = [self._by_rule[routed[-1]] if routed else self._everywhere[0]]
        for path in exchange.paths:
            if path != exchange.routed and (matched := self._patterns.match((path,))):
                held |= dict.fromkeys(matched)
                if matched[-1] not in routed:  # else the path as routed has overruled it
                    deciding.append(self._by_rule[matched[-1]])
        return [*self._everywhere, *(self._by_rule[at] for at in held)], deciding

    def _judge_unknown(self, exchange: Exchange, places: Sequence[_Place], deciding: Sequence[_Place]) -> Verdict:
        asked = [place for place in deciding if place.allow is not None] or [place for place in places if place.deny]
        if self._admits_unknown or not asked:
            return None
        return self._refuse(exchange, "ip_access.unknown", _UNKNOWN, asked[0], peer=exchange.peer)

    def _refuse(self, exchange: Exchange, code: str, reason: str, place: _Place, **detail: object) -> Reply:
        reply = self.context.refuse(exchange, self._status, code, reason, **place.detail, **detail)
        return replace(reply, unfound=True) if self._status is HTTPStatus.NOT_FOUND else reply


def _nobody() -> Known[str]:
    return Known(most=_MOST_REMEMBERED, longest=LONGEST_ADDRESS)  # a zone id may have any length


class IPAccessMiddleware(Guard):
    """The check alone, for any ASGI 3 app. Its keywords are the fields of `Context`.

    Where there are rules, a `RequestsMiddleware` belongs outside: it refuses the paths that frameworks disagree about.

    Example:
        >>> app.add_middleware(IPAccessMiddleware, settings=IPAccessSettings(allow=["10.0.0.0/8"]))
    """

    def __init__(self, app: ASGIApp, settings: IPAccessSettings, **options: Unpack[ContextOptions]) -> None:
        super().__init__(app, policies=[IPAccessPolicy(settings, Context(**options))])
