"""Events: frozen records, the default sink that no request can forge a line of, and sinks that fail."""

from __future__ import annotations

import logging
import re
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.events import Event, deliver, escape, log_event
from secguard.policy import Context
from tests.helpers import EventLog


def made(**fields: Any) -> Event:
    return Event(**{"code": "hosts.unknown", "action": "refused", "reason": "no such host", "time": 1.0, **fields})


def logged(event: Event) -> str:
    """The line that the default sink writes."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("secguard")
    logger.addHandler(handler)
    propagates, logger.propagate = logger.propagate, False
    try:
        log_event(event)
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
    (line,) = lines
    return line


LINES = {
    "nothing but the reason": (made(), "refused hosts.unknown: no such host"),
    "what is known of the request": (
        made(client="192.0.2.1", method="GET", path="/a", status=400),
        "refused hosts.unknown: no such host (client=192.0.2.1 method=GET path=/a status=400)",
    ),
    "details": (made(detail={"host": "evil.example"}), "refused hosts.unknown: no such host (host=evil.example)"),
    "a rehearsal": (made(action="rehearsed"), "rehearsed hosts.unknown: no such host"),
    "a forged line": (
        made(path="/\nrefused csrf.origin: x"),
        r'refused hosts.unknown: no such host (path="/\nrefused csrf.origin: x")',
    ),
    "a forged field": (
        made(path="/ status=200"),
        'refused hosts.unknown: no such host (path="/ status=200")',
    ),
    "a forged end": (made(path='/" x="'), r'refused hosts.unknown: no such host (path="/\" x=\"")'),
    "a terminal's escape": (made(path="/\x1b[2J"), r'refused hosts.unknown: no such host (path="/\x1b[2J")'),
    "bytes": (made(detail={"host": b"\xff\r\n"}), r'refused hosts.unknown: no such host (host="\xff\r\n")'),
    "an empty value": (made(detail={"host": ""}), 'refused hosts.unknown: no such host (host="")'),
    "no value": (made(detail={"host": None}), "refused hosts.unknown: no such host"),
}


@pytest.mark.parametrize(("event", "line"), LINES.values(), ids=LINES)
def test_an_event_is_one_line_of_the_log(event: Event, line: str) -> None:
    assert logged(event) == line


def test_long_values_are_cut() -> None:
    assert escape("a" * 200) == "a" * 200
    assert escape("a" * 201) == "a" * 200 + "..."
    assert len(logged(made(path="/" + "\x00" * 100_000))) < 1000


FIELD = re.compile(r'([a-z]+)=((?:[!#-&*-<>-\[\]-~]|,|-)+|"(?:[^"\\]|\\.)*")')
HOSTILE = st.text(st.sampled_from("ab\"'\\=() \n\r\t\x00\x1b\x7f\x85\u2028\u202e\ud800é%{}"), max_size=12) | st.text()


@given(path=HOSTILE, host=HOSTILE | st.binary(max_size=12), method=HOSTILE)
def test_no_request_can_forge_a_line_or_a_field(path: str, host: str | bytes, method: str) -> None:
    line = logged(made(path=path, method=method, client="192.0.2.1", detail={"host": host}))
    assert line.isascii()
    assert line.isprintable()
    told = line.removeprefix("refused hosts.unknown: no such host (").removesuffix(")")
    fields = FIELD.findall(told)
    assert [name for name, _ in fields] == ["client", "method", "path", "host"]
    assert " ".join(f"{name}={value}" for name, value in fields) == told


@given(reason=HOSTILE, code=HOSTILE, name=HOSTILE)
def test_not_even_a_careless_policy_breaks_the_line(reason: str, code: str, name: str) -> None:
    line = logged(made(reason=reason, code=code, detail={name: "value"}))
    assert line.isprintable()


@given(HOSTILE)
def test_what_is_escaped_can_be_read_back(value: str) -> None:
    text = escape(value)
    if text.startswith('"') and len(value) <= 200:
        read = text[1:-1].replace('\\"', '"').encode("ascii").decode("unicode_escape")
        assert read == value


def test_the_event_travels_with_the_log_record(caplog: pytest.LogCaptureFixture) -> None:
    event = made()
    log_event(event)
    (record,) = caplog.records
    assert record.name == "secguard"
    assert record.levelno == logging.WARNING
    assert record.__dict__["secguard_event"] is event


def test_events_are_frozen_and_keep_their_own_details() -> None:
    detail = {"host": "a"}
    event = made(detail=detail)
    detail["host"] = "b"
    assert event.detail["host"] == "a"
    with pytest.raises(FrozenInstanceError):
        event.code = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        event.detail["host"] = "c"  # type: ignore[index]


def test_a_sink_that_raises_is_logged_and_the_next_is_called(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: Event) -> None:
        raise OSError("disk full")

    log = EventLog()
    deliver(made(), (broken, log))
    assert log.codes == ["hosts.unknown"]
    (record,) = caplog.records
    assert "hosts.unknown" in record.getMessage()
    assert record.exc_info


def test_without_sinks_nobody_is_told(caplog: pytest.LogCaptureFixture) -> None:
    Context(sinks=()).notice("x.y", "z")
    assert not caplog.records
