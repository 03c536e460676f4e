"""A time limit around an app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from anyio import CancelScope, create_task_group, get_cancelled_exc_class, sleep
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LAST: Final = frozenset({"http.response.body", "http.response.pathsend"})


def within(seconds: float, app: ASGIApp, over: Callable[[], Awaitable[bool]]) -> ASGIApp:
    """Return the app with a limit on the time until its answer is complete.

    When that is over, `over` is awaited at once, whatever the app is doing: an endpoint in a thread cannot be stopped,
    and its client need not wait for it. If it says so, the app is cancelled.
    """

    async def timed(scope: Scope, receive: Receive, send: Send) -> None:
        failed: BaseException | None = None
        unanswered = CancelScope()

        async def watch() -> None:
            with unanswered:
                await sleep(seconds)
                with CancelScope(shield=True):  # what has been begun in the app's place is sent to its end
                    if await over():
                        group.cancel_scope.cancel()

        async def forward(message: Message) -> None:
            await send(message)
            if message["type"] in _LAST and not message.get("more_body"):
                unanswered.cancel()

        async with create_task_group() as group:
            group.start_soon(watch)
            try:
                await app(scope, receive, forward)
            except get_cancelled_exc_class():
                raise
            except BaseException as error:  # a task group would raise it in a group
                failed = error
            unanswered.cancel()
        if failed is not None:
            raise failed

    return timed
