"""Oversize and endless bodies leave memory flat. `python -m tests.benchmarks.bodies` tries 10,000 of each kind."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator

import pytest

from secguard.requests import RequestsMiddleware, RequestsSettings
from tests.benchmarks.bodies import KINDS, OPTIONS, resident, storm
from tests.helpers import Message, http_scope, skip_at_home
from tests.limited import MOST, site
from tests.limited import resident as own_resident
from tests.serving import LOOPBACK, uvicorn

CONNECTIONS = 300
FLAT = 4 * 2**20  # bytes: the body of every connection, were it kept, would be more than seven times that
WORTH = {
    "announced, and sent": {"413", "reset"},
    "announced only": {"413"},
    "endless": {"413", "reset"},
    "slow": {"408"},
    "left in the middle": {"left"},
}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    if not own_resident():
        skip_at_home("this system does not tell how much memory a process has")
    with uvicorn("tests.limited:app", *OPTIONS) as port:
        yield port


@pytest.mark.parametrize("kind", KINDS)
def test_memory_stays_flat_over_a_socket(port: int, kind: str) -> None:
    asyncio.run(storm(port, kind, CONNECTIONS))  # what the server and the allocator need for so many is there now
    told = asyncio.run(storm(port, kind, CONNECTIONS))
    assert set(told.answers) <= WORTH[kind]
    assert told.growth < FLAT


def test_memory_would_not_stay_flat_without_limits() -> None:
    """One connection is enough."""
    if not own_resident():
        skip_at_home("this system does not tell how much memory a process has")

    async def flood(port: int) -> int:
        before = await resident(port)
        _, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"POST /read HTTP/1.1\r\nhost: example.com\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(32):
            writer.write(b"100000\r\n" + b"x" * 2**20 + b"\r\n")
            await writer.drain()
        grown = await resident(port) - before
        writer.close()
        return grown

    with uvicorn("tests.limited:site", *OPTIONS) as port:
        assert asyncio.run(flood(port)) > 4 * FLAT


def test_memory_stays_flat_in_process() -> None:
    """A body without an end costs what is allowed, and no more, however much is offered."""
    app = RequestsMiddleware(site, RequestsSettings(max_body_size=MOST), sinks=())
    offered = 0

    async def endless() -> Message:
        nonlocal offered
        offered += 10_000
        await asyncio.sleep(0)  # or the loop would have no time to forget its cancelled timers
        return {"type": "http.request", "body": bytes(10_000), "more_body": True}

    async def ignore(message: Message) -> None:
        pass

    async def play(times: int) -> int:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(times):
            await app(http_scope("/read", method="POST"), endless, ignore)
        _, peak = tracemalloc.get_traced_memory()
        return peak - before

    async def compare() -> tuple[int, int]:
        await play(10)
        return await play(1), await play(300)

    tracemalloc.start()
    try:
        once, often = asyncio.run(compare())
    finally:
        tracemalloc.stop()
    assert offered == 311 * (MOST + 10_000)
    assert once < 3 * MOST
    assert often < once + MOST
