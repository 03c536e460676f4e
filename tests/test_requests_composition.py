"""Law 1 with a clock: limits on time do in two Guards, one around the other, what they do in one."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from secguard import Guard
from secguard.policy import Context, Mode
from secguard.requests import RequestLimitsPolicy, RequestsSettings
from tests.helpers import EventLog, clock
from tests.slow_clients import attempt_slowly
from tests.stacks import Case, cases
from tests.test_composition import FEW, STACKS, in_order

# No two of these are alike, nor do they meet the client's: the order of timers that are due at once says nothing.
TIMES = st.permutations([1.03, 2.05, 3.07, 4.11, 5.13, 6.17, 7.19, 8.23, 9.29, 10.31, 11.37, 12.41])
PAUSES = st.lists(st.sampled_from([0.0, 1.0, 2.0, 5.0, 9.0]), min_size=4, max_size=4)
FIELDS = ("body_timeout", "timeout", "websocket_idle_timeout")


@st.composite
def sections(draw: st.DrawFn) -> list[RequestsSettings]:
    times = list(draw(TIMES))
    made = []
    for _ in range(draw(st.integers(2, 4))):
        fields: dict[str, Any] = {name: draw(st.sampled_from([None, times.pop()])) for name in FIELDS}
        rate = draw(st.sampled_from([None, 3.1]))
        size = draw(st.sampled_from([None, 6]))
        made.append(RequestsSettings(**fields, body_min_rate=rate, max_body_size=size))
    return made


def told(app: ASGIApp, case: Case, pauses: list[float], log: EventLog) -> Any:
    gone = {"type": "websocket.disconnect", "code": 1001} if case.websocket else {"type": "http.disconnect"}
    incoming = [*zip(pauses, map(dict, case.incoming), strict=False), (99.0, gone)]
    sent, times = attempt_slowly(app, case.make_scope(), incoming)
    events = [(event.action, event.code) for event in log.events]
    return [in_order(message) for message in sent.messages], times, (type(sent.error), str(sent.error)), events


@settings(
    max_examples=STACKS // 2,
    deadline=None,
    derandomize=STACKS <= FEW,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    case=cases(),
    made=sections(),
    cut=st.integers(1, 3),
    pauses=PAUSES,
    mode=st.sampled_from(["enforce", "enforce", "report"]),
)
def test_one_guard_and_two_are_as_patient(
    case: Case, made: list[RequestsSettings], cut: int, pauses: list[float], mode: Mode
) -> None:
    log, log_of_two = EventLog(), EventLog()
    context = Context(sinks=(log,), mode=mode, clock=clock())
    one = Guard(case.app, policies=[RequestLimitsPolicy(section, context) for section in made])
    context = Context(sinks=(log_of_two,), mode=mode, clock=clock())
    within, around = ([RequestLimitsPolicy(section, context) for section in part] for part in (made[cut:], made[:cut]))
    two = Guard(Guard(case.app, policies=within), policies=around)
    assert told(one, case, pauses, log) == told(two, case, pauses, log_of_two)
