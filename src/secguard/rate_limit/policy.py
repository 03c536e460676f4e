"""The policy that counts requests, and the middleware that holds nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias, Unpack

from starlette.types import ASGIApp

from secguard._http import Declared, Lines, override
from secguard._networks import Networks
from secguard._paths import Matched, PathRules
from secguard.guard import Guard
from secguard.policy import Context, ContextOptions, Exchange, Outcome, Policy, Reply, Verdict
from secguard.rate_limit.dialects import NAMES, dialect
from secguard.rate_limit.keys import Identities
from secguard.rate_limit.openapi import document
from secguard.rate_limit.plans import Plan, Plans
from secguard.rate_limit.refusals import Refusals
from secguard.rate_limit.settings import RateLimitSettings
from secguard.rate_limit.workers import Workers, siblings, workers_wanted
from secguard.store.memory import MemoryCounts
from secguard.store.quota import Demand, Standing
from secguard.store.shared import SharedCounts, StoreOutError, connect

_Job: TypeAlias = tuple[Plan, list[Demand]]
_MEMORY: Final = "memory"

_FULL: Final = "max_keys are counted (SECGUARD_RATE_LIMIT__MAX_KEYS): from now on, new ones share one count"


class _Taken(NamedTuple):
    """What was counted for a request: if only some answers count, for the sake of these."""

    statuses: frozenset[int]
    demands: list[Demand]
    store: MemoryCounts | SharedCounts

    def show(self, exchange: Exchange) -> None:
        """Let the answer tell how the limits stand without it."""
        costs = {demand.quota: demand.cost for demand in self.demands}
        held = exchange.standings or ()
        exchange.stand([(quota, remaining + costs.get(quota, 0), *rest) for quota, remaining, *rest in held])

    async def give_back(self) -> None:
        """Count it no more. Without the store there is nothing to be done, and an Event has said so."""
        if isinstance(self.store, MemoryCounts):
            self.store.give_back(self.demands)
            return
        with suppress(StoreOutError):
            await self.store.give_back(self.demands)


class RateLimitPolicy(Policy):
    """Counts requests, and refuses those that are too many (429): Events `rate_limit.exceeded`, `rate_limit.blocked`.

    1. A request that one limit refuses is counted for none.
    2. Every answer to a request that was counted tells how its limits stand.
    3. Of two Guards around one app that count alike, one counts.
    4. Where the store is out, each rule says whether to count in this process, to let in, or to refuse
       (`rate_limit.store`, 503).

    Example:
        >>> policy = RateLimitPolicy(RateLimitSettings(default="1/minute"))
        >>> policy.admit(exchange), policy.admit(another).status
        (None, 429)
    """

    section: RateLimitSettings
    steps_in = True

    def __init__(self, section: RateLimitSettings, context: Context | None = None) -> None:
        super().__init__(context)
        self.section = section
        context = self.context
        self.identities = Identities(context, section.ipv6_prefix)
        self.plans = Plans(section, self.identities)
        self.local = MemoryCounts(context.clock, section.max_keys, self._tell_full)
        self.shared = self._connect()
        self._everywhere = self.plans.everywhere
        self._exempt_paths = PathRules([section.exempt.paths] if section.exempt.paths else [])
        self._exempt_networks = Networks(section.exempt.networks)
        self._exempts = bool(section.exempt.paths or section.exempt.networks)
        # What every request is counted for, where it is one quota and most of them need no closer look.
        quick = self.plans.default if self._everywhere and self.shared is None and not self._exempts else None
        usual = quick.plain if quick else None
        self._usual = self.local.hitting(*usual) if usual else None
        self.reads_headers = context.resolver.trusts
        self._address_of = self.identities.address_of
        self._reserves = False  # whether anything has ever been counted for the sake of an answer
        self._tell = dialect(section.headers, context.clock)
        self._refusals = Refusals(context, section, self._tell)
        names = NAMES[section.headers]
        self.sets = frozenset(names)
        self._strips = tuple(override(name, None) for name in names)  # nobody else speaks for us
        # In memory, what is given back is given back at once, and nobody has to be awaited for it.
        self.unneeded = frozenset({"done", "close"} if self.shared is None else ())
        self._applies = self.applies  # the one object: a bound method is another one each time
        self._workers = Workers(context.notice)
        if self.shared is None and (section.default or section.rules):
            self._workers.look(workers_wanted(os.environ, sys.argv))

    def _connect(self) -> SharedCounts | None:
        section = self.section
        if section.storage.startswith(_MEMORY):
            return None
        return connect(
            section.storage,
            hash_key=self.identities.hash_key,
            timeout=section.store_timeout,
            pool_size=section.pool_size,
            notice=self.context.notice,
        )

    def declare(self, secure: bool, matched: Matched) -> Iterable[Declared]:
        """Take away what the app says under our names."""
        return self._strips

    def admit(self, exchange: Exchange) -> Verdict | Awaitable[Verdict]:
        """Count the request, and let it pass if no limit refuses it."""
        if self._usual is not None and exchange.standings is None:
            told = self._usual(self._address_of(exchange))
            if told is not None:
                exchange.standings = standings = [told]
                if exchange.outer is not None:
                    exchange.outer.stand(standings)
                return None
        plans = self.plans.of(exchange) if self._everywhere is None else self._everywhere
        if exchange.standings is not None:  # a Guard further out has counted it
            plans = tuple(plan for plan in plans if not plan.is_counted(exchange.standings))
        return self.judge(exchange, plans) if plans else None

    def judge(
        self, exchange: Exchange, plans: Sequence[Plan], key: bytes | None = None
    ) -> Verdict | Awaitable[Verdict]:
        """Count the request for these plans, under `key` if there is one, and let it pass if none refuses it."""
        if self._exempts and self._is_exempt(exchange):
            return None
        if key is None and all(plan.asks_nobody for plan in plans):
            return self._count(exchange, [(plan, plan.at_once(exchange)) for plan in plans])
        return self._judge_slowly(exchange, plans, key)

    async def _judge_slowly(self, exchange: Exchange, plans: Sequence[Plan], key: bytes | None) -> Verdict:
        return await _awaited(self._count(exchange, [(plan, await plan.demands(exchange, key)) for plan in plans]))

    def _is_exempt(self, exchange: Exchange) -> bool:
        if self._exempt_paths and self._exempt_paths.match((exchange.routed,)):
            return True
        return exchange.client is not None and exchange.client in self._exempt_networks

    def _count(self, exchange: Exchange, jobs: list[_Job]) -> Verdict | Awaitable[Verdict]:
        demands = [demand for _, some in jobs for demand in some]
        if self.shared is None:
            return self._conclude(exchange, jobs, self.local.take(demands), self.local)
        known = self.shared.known(demands)
        if known is not None:
            return self._conclude(exchange, jobs, known, self.shared)
        return self._ask(exchange, jobs, demands, self.shared)

    async def _ask(self, exchange: Exchange, jobs: list[_Job], demands: list[Demand], shared: SharedCounts) -> Verdict:
        try:
            standings = await shared.take(demands)
        except StoreOutError:
            return await _awaited(self._do_without(exchange, jobs))
        return await _awaited(self._conclude(exchange, jobs, standings, shared))

    def _do_without(self, exchange: Exchange, jobs: list[_Job]) -> Verdict | Awaitable[Verdict]:
        """Do what each rule says for a time without a store."""
        if any(plan.on_store_error == "deny" for plan, _ in jobs):
            return self._refusals.uncounted(exchange)
        jobs = [(plan, demands) for plan, demands in jobs if plan.on_store_error == _MEMORY]
        demands = [demand for _, some in jobs for demand in some]
        return self._conclude(exchange, jobs, self.local.take(demands), self.local) if jobs else None

    def _conclude(
        self, exchange: Exchange, jobs: list[_Job], standings: list[Standing], store: MemoryCounts | SharedCounts
    ) -> Verdict | Awaitable[Verdict]:
        answered = exchange.status is not None  # then this is a websocket's message, and nothing is left to be told
        refused = any(standing.refused for standing in standings)
        taken = self._taken(exchange) if refused and not answered and not self.rehearses else []
        if not answered:
            counted = {standing.quota for standing in standings}
            held = [told for told in exchange.standings or () if told[0] not in counted]
            exchange.stand([*held, *standings])
        if refused:
            return self._undo(exchange, standings, taken) if taken else self._refusals.exceeded(exchange, standings)
        if not answered:
            exchange.memory.setdefault(self, []).extend(_Taken(plan.statuses, some, store) for plan, some in jobs)
            self._reserves = self._reserves or any(plan.statuses for plan, _ in jobs)
        return None

    def _taken(self, exchange: Exchange) -> list[_Taken]:
        """Return what has been counted before the limit of a route was asked."""
        taken: list[_Taken] = [*exchange.memory.get(self, ())]
        plan = self.plans.default
        if self._usual and plan:  # which leaves no word of what it counts
            noted = {demand.quota for it in taken for demand in it.demands}
            held = {told[0] for told in exchange.standings or ()}
            if noted.isdisjoint(plan.quotas) and not held.isdisjoint(plan.quotas):
                taken.append(_Taken(frozenset(), plan.at_once(exchange), self.local))
        return taken

    async def _undo(self, exchange: Exchange, standings: list[Standing], taken: Sequence[_Taken]) -> Reply:
        """Refuse what a route does, and count it for nobody."""
        exchange.memory[self] = []
        for it in taken:
            it.show(exchange)
            await it.give_back()
        reply = self._refusals.exceeded(exchange, standings)
        return reply if isinstance(reply, Reply) else await reply

    def finish(self, exchange: Exchange, headers: Lines) -> None:
        """Tell how the limits stand, now that the answer is known."""
        if exchange.standings is None:
            return
        if self._reserves:
            for it in self._free(exchange):
                it.show(exchange)
                if self.shared is None:
                    self.local.give_back(it.demands)
        if self._tell is not None:
            self._tell(exchange.standings, headers)

    async def done(self, exchange: Exchange, outcome: Outcome) -> None:
        """Give back what was counted for an answer that does not count."""
        if self._reserves and outcome.status is not None:
            for it in self._free(exchange):
                await it.give_back()

    def _free(self, exchange: Exchange) -> list[_Taken]:
        """Return what was counted for the sake of an answer that has turned out otherwise."""
        taken: list[_Taken] = exchange.memory.get(self, [])
        return [it for it in taken if it.statuses and exchange.status not in it.statuses]

    def meet(self, app: object) -> None:
        """Let the schemas of FastAPI apps tell of the refusal."""
        document(app, self._applies)

    def applies(self, path: str, method: str) -> bool:
        """Whether the section limits requests of this kind. A path may be a template."""
        return not self._exempt_paths.match((path,)) and self.plans.matches(path, method)

    async def open(self) -> None:
        """Connect to the shared store, or see whether there should be one."""
        if self.shared is not None:
            await self.shared.open()
        else:
            self._workers.look(siblings())

    async def close(self) -> None:
        """Close what is connected."""
        if self.shared is not None:
            await self.shared.close()

    def _tell_full(self) -> None:
        self.context.notice("rate_limit.full", _FULL, max_keys=self.section.max_keys)


class RateLimitMiddleware(Guard):
    """The limits alone, for any ASGI 3 app. Its keywords are the fields of `Context`.

    Example:
        >>> from secguard.rate_limit import RateLimitMiddleware, RateLimitSettings
        >>> app.add_middleware(RateLimitMiddleware, settings=RateLimitSettings(default="100/minute"))
    """

    def __init__(self, app: ASGIApp, settings: RateLimitSettings, **options: Unpack[ContextOptions]) -> None:
        super().__init__(app, policies=[RateLimitPolicy(settings, Context(**options))])


async def _awaited(verdict: Verdict | Awaitable[Verdict]) -> Verdict:
    return verdict if verdict is None or isinstance(verdict, Reply) else await verdict
