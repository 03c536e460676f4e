"""Plans: what the section, its rules and the routes say, put together once, so that a request only selects.

1. A rule takes the place of `default`. Of several that match, the one with the most specific pattern decides, alone.
2. It is chosen for the path as it is routed. Where the path might be routed otherwise too, rules for that count as
   well: nobody gets around a limit by making frameworks disagree.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from secguard._http import with_head
from secguard._paths import PathRules
from secguard.policy import Exchange
from secguard.rate_limit.grammar import Cost, Key, header_of, read_limit, read_statuses
from secguard.rate_limit.keys import Identify, Identities
from secguard.rate_limit.settings import DEFAULT, OnStoreError, RateLimitRule, RateLimitSettings
from secguard.store.quota import Demand, Quota, Told

_MOST: Final = 1024
UNQUOTED: Final = "/{}*!$&'()+,;=:@~ "


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Some limits that hold together, and how requests are counted for them."""

    rule: RateLimitRule
    quotas: tuple[Quota, ...]
    key: Key
    identify: Identify
    cost: Cost
    statuses: frozenset[int]
    on_store_error: OnStoreError

    def is_counted(self, standings: Iterable[Told]) -> bool:
        """Whether somebody has counted for all of it already, under the same names."""
        counted = {quota.shape for quota, *_ in standings}
        return all(quota.shape in counted for quota in self.quotas)

    @property
    def asks_nobody(self) -> bool:
        """Whether neither key nor cost come from code."""
        return not callable(self.key) and not callable(self.cost)

    @property
    def plain(self) -> tuple[Quota, int] | None:
        """The quota and the cost, where there is one quota that counts by address, and code has no say."""
        simple = self.key == "ip" and len(self.quotas) == 1
        return (self.quotas[0], self.cost) if simple and isinstance(self.cost, int) else None

    def at_once(self, exchange: Exchange) -> list[Demand]:
        """Return what the request wants, where no code is asked."""
        key, sponsor = self.identify(exchange)  # type: ignore[misc]  # nobody has to be awaited
        cost: int = self.cost  # type: ignore[assignment]  # and no code is asked
        return [Demand(quota, key, cost, sponsor) for quota in self.quotas]

    async def demands(self, exchange: Exchange, key: bytes | None = None) -> list[Demand]:
        """Return what the request wants, of whatever code there is to ask. `key` is known already, or None."""
        sponsor = None
        if key is None:
            identity = self.identify(exchange)
            key, sponsor = await identity if isinstance(identity, Awaitable) else identity
        cost = self.cost(exchange) if callable(self.cost) else self.cost
        priced = _checked(await cost if isinstance(cost, Awaitable) else cost)
        return [Demand(quota, key, priced, sponsor) for quota in self.quotas]


def _checked(cost: object) -> int:
    if not isinstance(cost, int) or cost < 0:
        raise ValueError(f"a cost is a number of units from 0 on, and not {cost!r}")
    return int(cost)


class Plans:
    """The plans of a section, and those that routes add. Quotas of one name and one shape are one object."""

    def __init__(self, section: RateLimitSettings, identities: Identities) -> None:
        self._section = section
        self._identities = identities
        self._quotas: dict[tuple[str, int, int], Quota] = {}
        self._by_route: dict[tuple[int, str], Plan] = {}
        self.default = None
        if section.default:
            self.default = self._plan(DEFAULT, DEFAULT, RateLimitRule(paths=["/"], limits=section.default))
        self._by_rule = [
            self._plan(section.bucket(rule), rule.name or quote(rule.paths[0], safe=UNQUOTED), rule)
            for rule in section.rules
        ]
        self._methods = [with_head(rule.methods) for rule in section.rules]
        self._paths = PathRules(rule.paths for rule in section.rules)
        self._usual = (self.default,) if self.default else ()
        self.everywhere: tuple[Plan, ...] | None = None if section.rules else self._usual

    def of(self, exchange: Exchange) -> tuple[Plan, ...]:
        """Return the plans for a request."""
        routed = self._decide(exchange.routed, exchange.method)
        held = self._usual if routed is None else (routed,)
        if len(exchange.paths) > 1:
            others = (self._decide(path, exchange.method) for path in exchange.paths)
            return tuple(dict.fromkeys((*held, *(plan for plan in others if plan is not None))))
        return held

    def matches(self, path: str, method: str) -> bool:
        """Whether requests of this kind are limited."""
        return self.default is not None or self._decide(path, method) is not None

    def _decide(self, path: str, method: str) -> Plan | None:
        for at in reversed(self._paths.match((path,))):
            if not self._methods[at] or method in self._methods[at]:
                return self._by_rule[at]
        return None

    def of_route(self, rule: RateLimitRule, bucket: str, label: str) -> Plan:
        """Return the plan of a limit that a route has."""
        plan = self._by_route.get((id(rule), bucket))
        if plan is None or plan.rule is not rule:
            if len(self._by_route) >= _MOST:  # somebody makes limits for each request
                self._by_route.clear()
            plan = self._by_route[id(rule), bucket] = self._plan(bucket, label, rule)
        return plan

    def named(self, name: str) -> Plan:
        """Return the plan that is called so: `default`, or the name of a rule.

        Raises:
            LookupError: there is none; the message has those that there are.
        """
        plans = {self._section.bucket(plan.rule): plan for plan in self._by_rule}
        if self.default:
            plans[DEFAULT] = self.default
        if name not in plans:
            raise LookupError(f"no limits are called {name!r}; there are: {', '.join(sorted(plans)) or 'none'}")
        return plans[name]

    def _plan(self, bucket: str, label: str, rule: RateLimitRule) -> Plan:
        section = self._section
        key = section.key if rule.key is None else rule.key
        return Plan(
            rule,
            tuple(self._of(bucket, label, rule.limits, together=isinstance(key, str) and bool(header_of(key)))),
            key,
            self._identities.by(key),
            section.cost_of(rule),
            read_statuses(rule.statuses),
            rule.on_store_error or section.on_store_error,
        )

    def _of(self, bucket: str, label: str, limits: Sequence[str], *, together: bool) -> Iterable[Quota]:
        for amount, seconds in map(read_limit, limits):
            known = (bucket, amount, seconds)
            if known not in self._quotas:
                shown = label if len(limits) == 1 else f"{label}-{seconds}s"
                self._quotas[known] = Quota(bucket, amount, seconds, self._section.strategy, together, shown)
            yield self._quotas[known]
