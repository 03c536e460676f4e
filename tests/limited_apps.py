"""What the tests of `rate_limit` share: an app with a limit, and requests that come one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp

from secguard.guard import Guard
from secguard.policy import Context, ContextOptions
from secguard.rate_limit import RateLimitPolicy, RateLimitSettings
from tests.helpers import Clock, EventLog, Line, Sent, attempt, http_scope, plain, websocket_scope


@dataclass
class Limited:
    """An app behind a limit, its clock, and the Events that came of it."""

    app: Guard
    policy: RateLimitPolicy
    clock: Clock
    log: EventLog = field(default_factory=EventLog)

    def ask(
        self,
        path: str = "/",
        client: str | None = "203.0.113.9",
        headers: Iterable[Line] = (),
        *,
        websocket: bool = False,
        **more: Any,
    ) -> Sent:
        """Send one request, or open one websocket."""
        scope = websocket_scope if websocket else http_scope
        sent = attempt(self.app, scope(path, headers, client=(client, 50000) if client else None, **more))
        assert sent.error is None, sent.error
        return sent

    def statuses(self, count: int, *args: Any, **more: Any) -> list[int]:
        """Send several requests, one after the other."""
        return [self.ask(*args, **more).status for _ in range(count)]


def limited(default: str | Sequence[str] = (), app: ASGIApp = plain, **fields: Any) -> Limited:
    """Put an app behind the section alone; `context` has options of the Context."""
    options: ContextOptions = fields.pop("context", {})
    clock, log = Clock(1_700_000_040.0), EventLog()  # at the beginning of a minute, which is a window of the clock
    options.setdefault("sinks", (log,))
    options.setdefault("clock", clock)
    policy = RateLimitPolicy(RateLimitSettings.model_validate({"default": default, **fields}), Context(**options))
    return Limited(Guard(app, policies=[policy]), policy, clock, log)
