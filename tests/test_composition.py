"""Law 1: for one Context, `Guard(app, p + q)` and `Guard(Guard(app, q), p)` send the same messages for every request.

`RANDOM_STACKS=10000` tries as many random stacks; without it there are a few hundred.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from secguard import Guard
from secguard.policy import Context, Keys, Mode
from tests.helpers import EventLog, Message, Sent, clock, step_through
from tests.stacks import Case, Recipe, cases, stacks

KEYS = Keys(["Q5fO9kz1Vv0sHn3dTjYw7LxBc2RmGe8u"])
FEW = 400
STACKS = int(os.environ.get("RANDOM_STACKS", FEW))


ABOUT_ANSWERS = ("cors.second", "csp.overruled")


def play(app: ASGIApp, case: Case) -> Sent:
    return step_through(app, case.make_scope(), [dict(message) for message in case.incoming])


def told(sent: Sent, log: EventLog) -> dict[str, Any]:
    """What can be seen from outside: messages, the error, who told of what, and who was done in which order.

    An inner Guard cannot know that an outer one cuts the app off, so the status that `done` is told may differ then,
    and what it notices about an answer that nobody gets.
    """
    return {
        "messages": [in_order(message) for message in sent.messages],
        "error": (type(sent.error), str(sent.error)) if sent.error else None,
        "events": [(event.action, event.code) for event in log.events if event.code not in ABOUT_ANSWERS],
    }


def in_order(message: Message) -> Message:
    """The message with its header lines ordered by name: RFC 9110 section 5.3 gives the order of names no meaning."""
    if "headers" not in message:
        return message
    return {**message, "headers": sorted(message["headers"], key=lambda line: line[0].lower())}


def in_one_guard(case: Case, outer: list[Recipe], inner: list[Recipe], mode: Mode) -> dict[str, Any]:
    log = EventLog()
    context = Context(sinks=(log,), mode=mode, clock=clock(), keys=KEYS)
    app = Guard(case.app, policies=[make(context) for make in outer + inner])
    return told(play(app, case), log)


def in_two_guards(case: Case, outer: list[Recipe], inner: list[Recipe], mode: Mode) -> dict[str, Any]:
    log = EventLog()
    context = Context(sinks=(log,), mode=mode, clock=clock(), keys=KEYS)
    within = Guard(case.app, policies=[make(context) for make in inner])
    return told(play(Guard(within, policies=[make(context) for make in outer]), case), log)


@settings(
    max_examples=STACKS,
    deadline=None,
    derandomize=STACKS <= FEW,  # the same few everywhere, until somebody asks for more
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(case=cases(), outer=stacks, inner=stacks, mode=st.sampled_from(("enforce", "enforce", "enforce", "report")))
def test_one_guard_and_two_send_the_same(case: Case, outer: list[Recipe], inner: list[Recipe], mode: Mode) -> None:
    one = in_one_guard(case, outer, inner, mode)
    two = in_two_guards(case, outer, inner, mode)
    assert one == two
    assert sum(is_start(message) for message in one["messages"]) <= 1


def is_start(message: Message) -> bool:
    return message["type"] in {"http.response.start", "websocket.accept", "websocket.http.response.start"}
