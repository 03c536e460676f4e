"""Events: frozen records of what matters to security, and the sinks they are handed to.

1. The client sees a plain refusal; the operator sees the Event, with the reason.
2. A sink is any callable that takes an Event. A sink that raises is logged and never breaks a request.
3. What came from the network is escaped where it becomes text, so that no request can forge a line of the log
   (CWE-117; OWASP ASVS 5.0 section 16.4.1).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

Action: TypeAlias = Literal["refused", "rehearsed", "noticed"]

_LONGEST: Final = 200  # characters of a value that came from the network
_LONGEST_MESSAGE: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that matters to security.

    `code` is stable and names the section first (`hosts.unknown`). `action` says what became of the request:
    `refused`, `rehearsed` (it would have been, were the mode not `report`), or `noticed` (nothing was refused).
    `time` is in seconds since the epoch, from the Context's clock. `client` is the resolved address, or None.

    Example:
        >>> Event(code="hosts.unknown", action="refused", reason="Host is not in hosts.allowed", time=0.0, status=400)
        Event(code='hosts.unknown', action='refused', ...)
    """

    code: str
    action: Action
    reason: str
    time: float
    client: str | None = None
    method: str | None = None
    path: str | None = None
    status: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", MappingProxyType(dict(self.detail)))


Sink: TypeAlias = Callable[[Event], None]

logger: Final = logging.getLogger("secguard")


def log_event(event: Event) -> None:
    """Write the Event as one line to the standard logger `secguard`, at level WARNING. This is the default sink.

    The Event itself travels with the record as `record.secguard_event`, for formatters that want its fields.

    Example:
        >>> import logging
        >>> logging.getLogger("secguard").addHandler(logging.StreamHandler())
    """
    told = {"client": event.client, "method": event.method, "path": event.path, "status": event.status, **event.detail}
    fields = " ".join(f"{_one_line(name)}={escape(value)}" for name, value in told.items() if value is not None)
    line = f"{event.action} {_one_line(event.code)}: {_one_line(event.reason)}"
    logger.warning("%s", f"{line} ({fields})" if fields else line, extra={"secguard_event": event})


def on_one_line(text: str) -> str:
    """Return text fit for a message that quotes what somebody else wrote: escaped, and cut at 2000 characters."""
    escaped = text if text.isprintable() else "".join(map(_escape_letter, text))
    return escaped if len(escaped) <= _LONGEST_MESSAGE else escaped[:_LONGEST_MESSAGE] + "…"


def _escape_letter(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()


def escape(value: object) -> str:
    """Return `value` as text fit for one line of a log: quoted, control characters escaped, cut at 200 characters."""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    if cut.isascii() and cut.isprintable() and cut and not any(mark in cut for mark in " \"\\'=()"):
        return cut
    body = cut.encode("unicode_escape").decode("ascii").replace('"', '\\"')
    return f'"{body}"'


def _one_line(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def deliver(event: Event, sinks: tuple[Sink, ...]) -> None:
    """Hand the Event to every sink; a sink that raises is logged with its traceback and the next one is called."""
    for sink in sinks:
        try:
            sink(event)
        except Exception:
            logger.exception("an event sink failed on %s", event.code)
