"""Limits in a shared store, through whole apps on a real server: what is admitted, and what that costs on the wire."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from secguard.rate_limit import Standing
from secguard.store.quota import Strategy
from tests.helpers import Line
from tests.shared_limits import AGES, WHO, chat, overheard, sharing
from tests.valkey import calls

STRATEGIES: list[Strategy] = ["fixed-window", "sliding-window", "moving-window"]
CLIENTS = [f"192.0.2.{number}" for number in range(1, 7)]
LIMITS = {
    "one limit": (f"20/{AGES}", 20),
    "two limits": (f"40/{AGES}; 17/180 days", 17),
    "three limits": (f"40/{AGES}; 17/180 days; 23/90 days", 17),
}


def remaining(standings: list[Standing] | Any) -> list[int]:
    return [standing.remaining for standing in standings]


@pytest.fixture(autouse=True)
def _clean(valkey_client: Any) -> None:
    """Every test begins with a server that is empty."""


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("written", "admitted"), LIMITS.values(), ids=LIMITS)
def test_crowd_is_admitted_exactly_as_far_as_there_is_room(
    written: str, admitted: int, strategy: Strategy, valkey_url: str
) -> None:
    async def main() -> None:
        amounts = [int(limit.partition("/")[0]) for limit in written.split(";")]
        requests = random.sample([client for client in CLIENTS for _ in range(50)], 300)
        async with (
            sharing(valkey_url, written, strategy=strategy) as ours,
            sharing(valkey_url, written, strategy=strategy, pool_size=3) as theirs,
        ):
            half = len(requests) // 2
            answers = await asyncio.gather(ours.crowd(requests[:half]), theirs.crowd(requests[half:]))
            for client in CLIENTS:
                assert sum((answer[client] for answer in answers), Counter()) == {200: admitted, 429: 50 - admitted}
                # What one limit refused was counted for none of the others.
                assert remaining(await theirs.limits.peek("default", client)) == [it - admitted for it in amounts]
            assert {*ours.log.codes, *theirs.log.codes} == {"rate_limit.exceeded"}

    asyncio.run(main())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_costs_that_do_not_fit_leave_room_for_those_that_do(strategy: Strategy, valkey_url: str) -> None:
    def cost(exchange: Any) -> int:
        return int(exchange.values(b"x-cost")[0])

    async def main() -> None:
        async with sharing(valkey_url, f"30/{AGES}; 25/180 days", strategy=strategy, cost=cost) as ours:
            costs = [7] * 40 + [3] * 40 + [1] * 40
            random.shuffle(costs)
            sent = await asyncio.gather(*(ours.ask(headers=[(b"x-cost", b"%d" % cost)]) for cost in costs))
            spent = sum(cost for cost, answer in zip(costs, sent, strict=True) if answer.status == 200)
            assert spent == 25  # the ones fill whatever is left
            assert remaining(await ours.limits.peek("default", WHO)) == [5, 0]

    asyncio.run(main())


def test_new_values_of_a_header_are_paid_for_by_their_address(valkey_url: str) -> None:
    async def main() -> None:
        async with sharing(valkey_url, f"9/{AGES}; 30/180 days", key="header:x-api-key") as ours:
            tokens: list[Line] = [(b"x-api-key", b"%d" % number) for number in range(100)]
            sent = await asyncio.gather(*(ours.ask(headers=[token]) for token in tokens))
            assert Counter(answer.status for answer in sent) == {200: 9, 429: 91}
            known = next(token for token, answer in zip(tokens, sent, strict=True) if answer.status == 200)
            again = await asyncio.gather(*(ours.ask(headers=[known]) for _ in range(30)))
            assert Counter(answer.status for answer in again) == {200: 8, 429: 22}

    asyncio.run(main())


HOSTILE: list[bytes] = [
    b"",
    b" ",
    b"}{",
    b"{}:secguard:rl:{probe}",
    b"\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    b"\x00\xff\xfe",
    b"a" * 60_000,
    b"0",
    b"-1",
    "ä€𝄞".encode(),
]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_hostile_keys_are_keys_like_any_other(strategy: Strategy, valkey_url: str, valkey_client: Any) -> None:
    async def main() -> None:
        async with sharing(valkey_url, f"3/{AGES}; 5/180 days", key="header:x-key", strategy=strategy) as ours:
            keys = [(f"198.51.100.{at}", key) for at, key in enumerate(HOSTILE) for _ in range(5)]
            sent = await asyncio.gather(*(ours.ask(client=it, headers=[(b"x-key", key)]) for it, key in keys))
            for at in range(len(HOSTILE)):
                assert Counter(it.status for it in sent[at * 5 : at * 5 + 5]) == {200: 3, 429: 2}, HOSTILE[at]
            assert set(ours.log.codes) == {"rate_limit.exceeded"}

    asyncio.run(main())
    names = valkey_client.keys("*")
    assert all(name.startswith(b"secguard:rl:") and len(name) < 120 and name.isascii() for name in names)


def test_hundreds_of_requests_share_two_connections_and_nobody_calls_that_an_outage(
    valkey_url: str, valkey_client: Any
) -> None:
    async def main() -> None:
        before = valkey_client.info("clients")["connected_clients"]
        async with sharing(valkey_url, f"70/{AGES}; 100/180 days", pool_size=2, store_timeout=0.5) as ours:
            answers = await ours.crowd(CLIENTS[:3] * 100)
            assert all(answer == {200: 70, 429: 30} for answer in answers.values())
            assert set(ours.log.codes) == {"rate_limit.exceeded"}
            assert valkey_client.info("clients")["connected_clients"] <= before + 2

    asyncio.run(main())


@pytest.mark.parametrize("written", [limits for limits, _ in LIMITS.values()], ids=LIMITS)
def test_request_is_one_command_and_one_that_is_known_to_be_refused_is_none(
    written: str, valkey_server: Any, valkey_client: Any
) -> None:
    async def main() -> None:
        async with overheard(valkey_server.port) as ear, sharing(ear.url, written) as ours:
            await ours.ask()  # connects
            assert ear.heard() == ["SCRIPT"] * 5 + ["EVALSHA"]
            calls(valkey_client)
            ear.sendings = 0
            for _ in range(10):
                assert (await ours.ask()).status == 200
            assert calls(valkey_client) == {"evalsha": 10}
            assert ear.heard() == ["EVALSHA"] * 10
            assert ear.sendings == 10
            while (await ours.ask()).status == 200:
                pass
            ear.heard()
            calls(valkey_client)
            answers = await ours.crowd([WHO] * 200)
            assert answers[WHO] == {429: 200}
            assert ear.heard() == []
            assert calls(valkey_client) == {}
            assert (await ours.ask(client="198.51.100.1")).status == 200  # somebody else is asked for
            assert ear.heard() == ["EVALSHA"]

    asyncio.run(main())


def test_refusal_is_believed_for_a_second_at_most(valkey_server: Any) -> None:
    async def main() -> None:
        async with overheard(valkey_server.port) as ear, sharing(ear.url, f"1/{AGES}") as ours:
            await ours.ask()
            began = asyncio.get_running_loop().time()
            assert (await ours.ask()).status == 429
            ear.heard()
            while not ear.heard():
                assert (await ours.ask()).status == 429
                await asyncio.sleep(0.01)
            assert 0.95 < asyncio.get_running_loop().time() - began < 1.5

    asyncio.run(main())


def test_refused_client_comes_back_when_it_was_told_to(valkey_url: str) -> None:
    async def main() -> None:
        async with sharing(valkey_url, "2/second", strategy="moving-window") as ours:
            assert [(await ours.ask()).status for _ in range(3)] == [200, 200, 429]
            refused = await ours.ask()
            await asyncio.sleep(int(refused.header(b"retry-after") or 99))
            assert [(await ours.ask()).status for _ in range(3)] == [200, 200, 429]

    asyncio.run(main())


LOGIN = {"paths": ["/login"], "limits": f"5/{AGES}; 9/180 days", "statuses": [401], "name": "login"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_answers_that_do_not_count_are_given_back(strategy: Strategy, valkey_url: str, valkey_client: Any) -> None:
    async def main() -> None:
        async with sharing(valkey_url, rules=[LOGIN], strategy=strategy) as ours:
            for _ in range(20):
                right = await ours.ask("/login")
                assert right.status == 200
                assert (right.header(b"ratelimit") or b"").startswith(b'"login-31104000s";r=5;')
            wrong = [(await ours.ask("/login", query_string=b"status=401")).status for _ in range(5)]
            assert wrong == [401] * 5
            assert remaining(await ours.limits.peek("login", WHO)) == [0, 4]
            calls(valkey_client)
            assert (await ours.ask("/login")).status == 429
            assert calls(valkey_client) == {"evalsha": 1}

    asyncio.run(main())


def test_answers_that_do_not_count_leave_nothing_behind_in_a_crowd(valkey_url: str) -> None:
    async def main() -> None:
        async with sharing(valkey_url, rules=[LOGIN | {"limits": f"500/{AGES}"}]) as ours:
            right = [ours.ask("/login") for _ in range(150)]
            wrong = [ours.ask("/login", query_string=b"status=401") for _ in range(50)]
            sent = await asyncio.gather(*random.sample(right + wrong, 200))
            assert Counter(answer.status for answer in sent) == {200: 150, 401: 50}
            assert remaining(await ours.limits.peek("login", WHO)) == [450]

    asyncio.run(main())


@pytest.mark.parametrize("name", ["flushall", "script_flush"])
def test_server_that_forgets_everything_mid_run_goes_on_counting(
    name: str, valkey_url: str, valkey_client: Any
) -> None:
    async def main() -> None:
        async with sharing(valkey_url, f"10/{AGES}") as ours:
            first = await ours.crowd(CLIENTS[:2] * 8)
            getattr(valkey_client, name)()
            second = await ours.crowd(CLIENTS[:2] * 20)
            kept = 0 if name == "flushall" else 8
            for client in CLIENTS[:2]:
                assert first[client] == {200: 8}
                assert second[client] == {200: 10 - kept, 429: 10 + kept}
            assert set(ours.log.codes) == {"rate_limit.exceeded"}
            calls(valkey_client)
            await ours.ask(client="198.51.100.1")
            assert calls(valkey_client) == {"evalsha": 1}

    asyncio.run(main())


def test_scripts_that_vanish_over_and_over_cost_nobody_a_count(valkey_url: str, valkey_client: Any) -> None:
    async def main() -> None:
        async with sharing(valkey_url, f"90/{AGES}") as ours:

            async def flush() -> None:
                for _ in range(20):
                    await asyncio.to_thread(valkey_client.script_flush)

            answers, _ = await asyncio.gather(ours.crowd([WHO] * 200), flush())
            assert answers[WHO] == {200: 90, 429: 110}
            assert set(ours.log.codes) == {"rate_limit.exceeded"}

    asyncio.run(main())


def test_what_operators_do_in_one_process_holds_in_another(valkey_url: str) -> None:
    async def main() -> None:
        async with (
            sharing(valkey_url, f"3/{AGES}; 8/180 days") as ours,
            sharing(valkey_url, f"3/{AGES}; 8/180 days") as theirs,
        ):
            assert [(await ours.ask()).status for _ in range(2)] == [200, 200]
            assert remaining(await theirs.limits.peek("default", WHO)) == [1, 6]
            await theirs.limits.block("default", WHO, 3600)
            blocked = await ours.ask()
            assert blocked.status == 429
            assert ours.log.codes == ["rate_limit.blocked"]
            assert 3598 <= int(blocked.header(b"retry-after") or 0) <= 3601
            assert all(it.blocked for it in await theirs.limits.peek("default", WHO))
            await ours.limits.reset("default", WHO)
            assert remaining(await theirs.limits.peek("default", WHO)) == [3, 8]
            assert [(await ours.ask()).status for _ in range(4)] == [200, 200, 200, 429]
            await theirs.limits.reset("default", WHO)
            assert (await theirs.ask()).status == 200
            async with asyncio.timeout(1.5):  # here it is still known for a second
                while (await ours.ask()).status == 429:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.02)

    asyncio.run(main())


def test_websockets_are_counted_by_their_handshakes_and_their_messages(valkey_url: str) -> None:
    async def main() -> None:
        async with sharing(valkey_url, f"6/{AGES}") as ours, sharing(valkey_url, f"6/{AGES}") as theirs:
            opened = await asyncio.gather(*(site.open() for site in (ours, theirs) for _ in range(10)))
            assert Counter(sent.types[0] for sent in opened) == {
                "websocket.accept": 6,
                "websocket.http.response.start": 14,
            }
            talkative = await ours.open("/talk", "198.51.100.1", "a", "b", "c")
            assert talkative.types == ["websocket.accept", *["websocket.send"] * 3]
            cut = await theirs.open("/talk", "198.51.100.1", "d", "e", "f")
            assert cut.types == ["websocket.accept", "websocket.send", "websocket.close"]
            assert cut.closed == 1013
            assert remaining(await ours.limits.peek(chat, "198.51.100.1")) == [0]

    asyncio.run(main())


def test_request_that_is_cancelled_mid_call_takes_nobody_elses_connection(valkey_url: str) -> None:
    async def main() -> None:
        async with sharing(valkey_url, f"400/{AGES}", pool_size=4) as ours:

            async def leave(at: int) -> None:
                asking = asyncio.create_task(ours.ask(client=f"198.51.100.{at % 8}"))
                for _ in range(at % 12):
                    await asyncio.sleep(0)
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking

            staying, _ = await asyncio.gather(ours.crowd(CLIENTS * 30), asyncio.gather(*map(leave, range(200))))
            assert all(answer == {200: 30} for answer in staying.values())
            for client in CLIENTS:
                assert remaining(await ours.limits.peek("default", client)) == [370]
            assert ours.log.codes == []

    asyncio.run(main())


def test_busy_loop_is_no_outage(valkey_url: str) -> None:
    """Endpoints that block for longer than the timeout, one after the other, while others wait for the store."""

    async def block(request: Request) -> Response:
        time.sleep(0.08)  # noqa: ASYNC251 - that is the point
        return PlainTextResponse("at last")

    async def main() -> None:
        app = Starlette(routes=[Route("/", block)])
        async with sharing(valkey_url, f"12/{AGES}", app, store_timeout=0.05) as ours:
            answers = await ours.crowd(CLIENTS[:2] * 20)
            assert all(answer == {200: 12, 429: 8} for answer in answers.values())
            assert set(ours.log.codes) == {"rate_limit.exceeded"}

    asyncio.run(main())
