"""A timeout that counts the time in which the loop was free to read a reply."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time

import pytest

from secguard.store.patience import Patience, within
from tests.virtual_time import VirtualLoop, run


def test_returns_what_is_awaited() -> None:
    assert run(within(0.05, asyncio.sleep(0.04, "reply"))) == "reply"


def test_raises_when_the_time_is_over() -> None:
    async def main() -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await within(0.05, asyncio.sleep(1))
        return asyncio.get_running_loop().time() - began

    assert run(main()) == pytest.approx(0.05)


def test_raises_what_is_raised() -> None:
    async def raises() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        run(within(0.05, raises()))


def test_cancelling_is_no_timeout() -> None:
    async def main() -> None:
        task = asyncio.create_task(within(0.05, asyncio.sleep(1)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_each_that_waits_has_all_of_the_time() -> None:
    patience = Patience(0.05)

    async def waits(start: float, needs: float) -> float:
        await asyncio.sleep(start)
        began = asyncio.get_running_loop().time()
        with contextlib.suppress(TimeoutError):
            await patience.wait(asyncio.sleep(needs))
        return asyncio.get_running_loop().time() - began

    async def main() -> None:
        # At the beginning, at the end of a slice and within one, while others are over; and when nobody was left.
        late, short, joins, between, again = await asyncio.gather(
            waits(0, 1), waits(0.001, 0.002), waits(0.02, 1), waits(0.0323, 1), waits(0.3, 1)
        )
        assert (late, short, again) == pytest.approx((0.05, 0.002, 0.05))
        assert joins == pytest.approx(0.0525, abs=0.0026)
        assert between == pytest.approx(0.0525, abs=0.0026)

    run(main())


def test_who_is_cancelled_as_the_time_is_over_is_cancelled() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(within(0.05, asyncio.sleep(1)))
        await asyncio.sleep(0)
        await asyncio.sleep(0.045)
        loop.call_at(0.05, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert loop.time() == pytest.approx(0.05)

    run(main())


def test_time_that_was_over_leaves_no_cancelling_behind() -> None:
    async def main() -> None:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await within(0.05, asyncio.sleep(1))
        assert (task := asyncio.current_task()) is not None
        assert task.cancelling() == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await within(0.05, asyncio.sleep(1))

    run(main())


def test_time_that_was_over_is_no_matter_to_who_has_a_result_all_the_same() -> None:
    async def stubborn() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1)
        return "result"

    async def main() -> None:
        assert await within(0.05, stubborn()) == "result"
        assert (task := asyncio.current_task()) is not None
        assert task.cancelling() == 0

    run(main())


def test_time_does_not_run_in_a_loop_that_is_left() -> None:
    patience = Patience(0.05)

    async def waits() -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await patience.wait(asyncio.sleep(1))
        return asyncio.get_running_loop().time() - began

    with asyncio.Runner(loop_factory=VirtualLoop) as one, asyncio.Runner(loop_factory=VirtualLoop) as other:
        for runner in (one, other):
            runner.run(patience.wait(asyncio.sleep(0)))
        one.run(asyncio.sleep(0.1))
        assert other.run(waits()) == pytest.approx(0.0525, abs=0.0026)


def test_reply_that_came_while_the_loop_was_busy_counts() -> None:
    async def ask(server: asyncio.Server) -> bytes:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        reply = asyncio.create_task(within(0.05, reader.readexactly(5)))
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 - that it blocks the loop is the point
        try:
            return await reply
        finally:
            writer.close()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"reply")
        writer.close()

    async def main() -> bytes:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            return await ask(server)

    assert asyncio.run(main()) == b"reply"


def test_leaves_no_cycle() -> None:
    async def main() -> int:
        await within(0.05, asyncio.sleep(0))
        gc.collect()
        for _ in range(100):
            await within(0.05, asyncio.sleep(0))
        return gc.collect()

    gc.disable()
    try:
        assert asyncio.run(main()) == 0
    finally:
        gc.enable()
