"""The circuit breaker: what it lets through, when it tries again, and what it tells."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from secguard.store.backend import StoreOutError
from secguard.store.breaker import Breaker
from tests.helpers import Clock

Operation = Callable[[], Awaitable[str]]


class Store:
    """A store that answers or does not, and its breaker."""

    def __init__(self, most: int = 2) -> None:
        self.works = True
        self.slow: asyncio.Event | None = None
        self.calls = self.probes = self.running = self.most_running = 0
        self.told: list[tuple[str, str]] = []
        self.clock = Clock(50.0)
        self.breaker = Breaker(self.probe, most, lambda code, reason: self.told.append((code, reason)), self.clock)

    async def answer(self) -> str:
        self.calls += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.slow:
                await self.slow.wait()
            if not self.works:
                raise StoreOutError("no answer")
            return "answer"
        finally:
            self.running -= 1

    async def probe(self) -> None:
        self.probes += 1
        await self.answer()
        self.calls -= 1

    async def call(self) -> str:
        return await self.breaker.call(self.answer)

    async def fails(self) -> bool:
        """Call, let a probe that was begun run, and say whether the call failed."""
        try:
            await self.call()
        except StoreOutError:
            return True
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
        return False


def test_calls_go_through_while_it_is_closed() -> None:
    async def main() -> None:
        store = Store()
        assert await store.call() == "answer"
        assert not store.breaker.is_open

    asyncio.run(main())


def test_first_failure_opens_it_and_the_rest_costs_no_call() -> None:
    async def main() -> None:
        store = Store()
        store.works = False
        with pytest.raises(StoreOutError, match="no answer"):
            await store.call()
        for _ in range(10):
            with pytest.raises(StoreOutError, match="is out"):
                await store.call()
        assert (store.calls, store.probes, store.breaker.is_open) == (1, 0, True)
        assert store.told == [("rate_limit.store-down", "no answer")]

    asyncio.run(main())


def test_probes_come_at_growing_intervals_and_never_twice_at_once() -> None:
    async def main() -> None:
        store = Store()
        store.works = False
        probed = []
        for _ in range(256):
            before = store.probes
            assert await store.fails()
            if store.probes > before:
                probed.append(store.clock() - 50)
            store.clock.move(1 / 64)
        assert probed == [0.25, 0.75, 1.75, 2.75, 3.75]

        store.slow = asyncio.Event()
        store.clock.move(1)
        for _ in range(5):
            assert await store.fails()
            store.clock.move(1)
        assert store.probes == 6
        store.works = True
        store.slow.set()
        assert await store.fails()  # the probe is about to find out
        assert not await store.fails()
        assert [code for code, _ in store.told] == ["rate_limit.store-down", "rate_limit.store-up"]
        assert "after 10.0 s" in store.told[1][1]

    asyncio.run(main())


def test_each_outage_begins_with_the_short_interval() -> None:
    async def main() -> None:
        store = Store()
        for _ in range(2):
            store.works = False
            assert await store.fails()
            store.clock.move(0.25)
            store.works = True
            assert await store.fails()
            assert not await store.fails()
        assert store.probes == 2

    asyncio.run(main())


def test_only_so_many_run_at_once_and_the_rest_waits() -> None:
    async def main() -> None:
        store = Store(most=3)
        store.slow = asyncio.Event()
        calls = [asyncio.create_task(store.call()) for _ in range(20)]
        await asyncio.sleep(0)
        store.slow.set()
        assert await asyncio.gather(*calls) == ["answer"] * 20
        assert store.most_running == 3

    asyncio.run(main())


def test_those_that_wait_give_up_when_it_opens() -> None:
    async def main() -> None:
        store = Store(most=3)
        store.slow = asyncio.Event()
        store.works = False
        calls = [asyncio.create_task(store.call()) for _ in range(20)]
        await asyncio.sleep(0)
        store.slow.set()
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(it, StoreOutError) for it in found)
        assert store.calls == 3
        assert len(store.told) == 1

    asyncio.run(main())


def test_cancelled_call_is_no_outage_and_leaves_its_place() -> None:
    async def main() -> None:
        store = Store(most=1)
        store.slow = asyncio.Event()
        call = asyncio.create_task(store.call())
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        store.slow = None
        assert await store.call() == "answer"

    asyncio.run(main())


def test_mistake_of_ours_is_no_outage() -> None:
    async def broken() -> None:
        raise KeyError

    async def main() -> None:
        store = Store()
        with pytest.raises(KeyError):
            await store.breaker.call(broken)
        assert not store.breaker.is_open

    asyncio.run(main())


@pytest.mark.parametrize("begun", [True, False], ids=["that has begun", "that has not begun"])
def test_close_ends_a_probe(begun: bool) -> None:
    async def main() -> None:
        store = Store()
        store.works = False
        assert await store.fails()
        store.slow = asyncio.Event()
        store.clock.move(1)
        with pytest.raises(StoreOutError):
            await store.call()
        if begun:
            await asyncio.sleep(0)
        await store.breaker.close()
        await store.breaker.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert store.breaker.is_open

    asyncio.run(main())


def test_another_event_loop_begins_without_those_who_waited_in_the_last() -> None:
    store = Store(most=1)

    async def leaves_a_call_and_a_probe() -> None:
        store.slow = asyncio.Event()
        calls = [asyncio.create_task(store.call()) for _ in range(3)]
        await asyncio.sleep(0)
        assert len(calls) == 3

    async def main() -> None:
        store.slow = None
        assert await asyncio.gather(*(store.call() for _ in range(3))) == ["answer"] * 3

    asyncio.run(leaves_a_call_and_a_probe())
    asyncio.run(main())
