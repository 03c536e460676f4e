"""Hygiene: what two readers could understand differently is refused before anything is decided."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from secguard.guard import Guard
from secguard.policy import Context
from secguard.requests import RequestsMiddleware, RequestsPolicy, RequestsSettings
from tests.helpers import EventLog, Line, drive, exchange, http_scope, plain, websocket_scope


def refusal(
    path: str = "/", headers: list[Line] | None = None, fields: dict[str, Any] | None = None, **scope: Any
) -> str:
    """The event code a request is refused with, or `passes`."""
    policy = RequestsPolicy(RequestsSettings(**(fields or {})))
    reply = policy.admit(exchange(path, headers or [], **scope))
    return reply.event.code if reply and reply.event else "passes"


A, B = b"a.example", b"b.example"

LINES: list[tuple[str, list[Line], str]] = [
    ("one of each", [(b"host", A), (b"origin", b"https://a.example"), (b"content-type", b"text/plain")], "passes"),
    ("two cookies, as HTTP/2 sends them", [(b"cookie", b"a=1"), (b"cookie", b"b=2")], "passes"),
    ("two forwarded addresses", [(b"x-forwarded-for", b"192.0.2.1"), (b"x-forwarded-for", b"1.2.3.4")], "passes"),
    ("two different hosts", [(b"host", A), (b"host", B)], "requests.repeated"),
    ("the same host twice", [(b"host", A), (b"host", A)], "requests.repeated"),
    ("two origins", [(b"origin", b"https://a.example"), (b"origin", b"null")], "requests.repeated"),
    ("two sec-fetch-site", [(b"sec-fetch-site", b"none"), (b"sec-fetch-site", b"cross-site")], "requests.repeated"),
    ("two sec-fetch-dest", [(b"sec-fetch-dest", b"empty"), (b"sec-fetch-dest", b"image")], "requests.repeated"),
    ("two lengths", [(b"content-length", b"1"), (b"content-length", b"2")], "requests.repeated"),
    ("two types", [(b"content-type", b"text/plain"), (b"content-type", b"text/html")], "requests.repeated"),
    ("a repeated line behind an allowed one", [(b"cookie", b"a"), (b"cookie", b"b"), (b"host", A), (b"host", B)],
     "requests.repeated"),
    ("a length alone", [(b"content-length", b"1")], "passes"),
    ("chunks alone", [(b"transfer-encoding", b"chunked")], "passes"),
    ("a length beside chunks", [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")], "requests.framing"),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "expected"), [row[1:] for row in LINES], ids=[row[0] for row in LINES])
def test_header_lines(headers: list[Line], expected: str) -> None:
    assert refusal(headers=headers) == expected


HOSTS = [
    (b"example.com", "passes"),
    (b"EXAMPLE.com:8443", "passes"),
    (b"example.com.", "passes"),
    (b"127.0.0.1:8000", "passes"),
    (b"[::1]:8000", "passes"),
    (b"[::ffff:192.0.2.1]", "passes"),
    (b"web_1:80", "passes"),
    (b"xn--bcher-kva.example", "passes"),
    (b"", "requests.host"),
    (b"good.example/evil?@x:99", "requests.host"),
    (b"user@example.com", "requests.host"),
    (b"example.com:", "requests.host"),
    (b"example.com:port", "requests.host"),
    (b"example.com:0", "requests.host"),
    (b"example.com:65536", "requests.host"),
    (b"example.com:443:443", "requests.host"),
    (b" example.com", "requests.host"),
    (b"example.com\x00.evil.example", "requests.host"),
    (b"example.com, evil.example", "requests.host"),
    (b"example..com", "requests.host"),
    (b".example.com", "requests.host"),
    (b"-.example", "requests.host"),
    (b"ex%61mple.com", "requests.host"),
    (b"b\xc3\xbccher.example", "requests.host"),
    (b"::1", "requests.host"),
    (b"[::1", "requests.host"),
    (b"[::1%eth0]", "requests.host"),
    (b"[1.2.3.4]", "requests.host"),
    (b"a" * 300, "requests.host"),
    (b"a." * 32768, "requests.host"),
]


@pytest.mark.parametrize(("host", "expected"), HOSTS, ids=[repr(host[:40]) for host, _ in HOSTS])
def test_the_host(host: bytes, expected: str) -> None:
    assert refusal(headers=[(b"host", host)], fields={"max_header_size": 1 << 20}) == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.0", "passes"), ("1.1", "requests.host"), ("2", "requests.host"), ("3", "requests.host")],
)
def test_only_http_1_0_may_leave_the_host_out(version: str, expected: str) -> None:
    assert refusal(host=None, http_version=version) == expected


PATHS = [
    ("/", "passes"),
    ("/admin", "passes"),
    ("/admin/", "passes"),
    ("/users/17/orders.json", "passes"),
    ("/.well-known/acme-challenge/x", "passes"),
    ("/a/..b/c..", "passes"),
    ("/...", "passes"),
    ("/a;b=c", "passes"),
    ("/straße/日本", "passes"),
    ("/100%", "passes"),
    ("/100%25", "passes"),
    ("/a b", "passes"),
    ("/a%2fb", "passes"),
    ("", "requests.path"),
    ("admin", "requests.path"),
    ("http://evil.example/admin", "requests.path"),
    ("//admin", "requests.path"),
    ("/a//b", "requests.path"),
    ("/a//", "requests.path"),
    ("/%2fadmin", "requests.path"),
    ("/a%2F/b", "requests.path"),
    ("/a%2f%2fb", "requests.path"),
    ("/.", "requests.path"),
    ("/./admin", "requests.path"),
    ("/a/..", "requests.path"),
    ("/a/../admin", "requests.path"),
    ("/a/..;/admin", "requests.path"),
    ("/a/..;x=y/admin", "requests.path"),
    ("/%2e/admin", "requests.path"),
    ("/a/%2E%2e/admin", "requests.path"),
    ("/a/.%2e/admin", "requests.path"),
    ("/a%2f..%2fadmin", "requests.path"),
    ("../admin", "requests.path"),
    ("/a\\b", "requests.path"),
    ("/a%5Cb", "requests.path"),
    ("/a\0", "requests.path"),
    ("/a%00", "requests.path"),
    ("/a\r\nb", "requests.path"),
    ("/a\n", "requests.path"),
    ("/a%0d%0ab", "requests.path"),
    ("/a\tb", "requests.path"),
    ("/a\x7f", "requests.path"),
    ("/a%7F", "requests.path"),
    ("/a\x85b", "requests.path"),
    ("/a\ufffd", "requests.path"),
    ("/a%ef%bf%bd", "requests.path"),
    ("/a\udcff", "requests.path"),
    ("*", "requests.path"),
]


@pytest.mark.parametrize("websocket", [False, True], ids=["http", "websocket"])
@pytest.mark.parametrize(("path", "expected"), PATHS, ids=[repr(path) for path, _ in PATHS])
def test_the_path(path: str, expected: str, websocket: bool) -> None:
    assert refusal(path, websocket=websocket) == expected


def test_options_may_ask_about_the_server_as_a_whole() -> None:
    assert refusal("*", method="OPTIONS") == "passes"


HAZARDS: list[tuple[str, dict[str, Any]]] = [
    ("allow_rootless_paths", {"path": "admin"}),
    ("allow_empty_segments", {"path": "/a//b"}),
    ("allow_dot_segments", {"path": "/a/../b"}),
    ("allow_control_bytes", {"path": "/a\x01"}),
    ("allow_backslashes", {"path": "/a\\b"}),
    ("allow_undecodable_paths", {"path": "/a\ufffd"}),
    ("allow_malformed_host", {"headers": [(b"host", b"a/b")]}),
    ("allow_malformed_host", {"host": None}),
    (
        "allow_length_with_transfer_encoding",
        {"headers": [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")]},
    ),
]


@pytest.mark.parametrize(("setting", "request_"), HAZARDS, ids=[f"{name} {given}" for name, given in HAZARDS])
def test_each_check_can_be_waived_by_the_setting_named_for_its_hazard(setting: str, request_: dict[str, Any]) -> None:
    assert refusal(**request_) != "passes"
    assert refusal(fields={setting: True}, **request_) == "passes"


def test_waiving_one_check_waives_no_other() -> None:
    assert refusal("/a//../b", fields={"allow_empty_segments": True}) == "requests.path"


def test_a_repeated_line_can_be_allowed_by_name() -> None:
    types: list[Line] = [(b"content-type", b"a/b"), (b"content-type", b"c/d")]
    fields = {"allow_repeated_headers": "Content-Type"}
    assert refusal(headers=types, fields=fields) == "passes"
    assert refusal(headers=[*types, (b"host", A), (b"host", B)], fields=fields) == "requests.repeated"


def test_a_name_that_may_repeat_anyway_is_a_mistake() -> None:
    with pytest.raises(ValidationError, match="may repeat anyway"):
        RequestsSettings(allow_repeated_headers=("cookie",))


@pytest.mark.parametrize(
    ("path", "raw_path", "expected"),
    [
        ("/a/b", b"/a%2Fb", "requests.path"),
        ("/a/b", b"/a%2fb", "requests.path"),
        ("/a/b", b"/a/b", "passes"),
        ("/a%2fb", None, "requests.path"),
        ("/a%2fb", b"/a%252fb", "requests.path"),
    ],
)
def test_encoded_slashes_are_refused_when_asked(path: str, raw_path: bytes | None, expected: str) -> None:
    assert refusal(path, raw_path=raw_path, fields={"refuse_encoded_slashes": True}) == expected


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (100, 0, "passes"),
        (101, 0, "requests.headers"),
        (1, 65536 - len(b"hosta"), "passes"),
        (1, 65536 - len(b"hosta") + 1, "requests.headers"),
    ],
)
@pytest.mark.parametrize("same_name", [False, True], ids=["different names", "one name"])
def test_number_and_size_of_header_lines_are_bounded(count: int, size: int, expected: str, same_name: bool) -> None:
    lines: list[Line] = [(b"host", b"a"), *((b"" if same_name else b"%d" % at, b"") for at in range(count - 1))]
    if count == 1:
        half = size // 2
        lines += [(b"", b"x" * half), (b"", b"x" * (size - half))] if same_name else [(b"", b"x" * size)]
    assert refusal(headers=lines) == expected


def test_too_many_headers_are_answered_with_431() -> None:
    sent = drive(RequestsMiddleware(plain, RequestsSettings(max_header_count=1)), http_scope(headers=[(b"a", b"b")]))
    assert sent.status == 431


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "in a Guard"])
class TestRefusals:
    """What a refused request is told, alone and in a Guard."""

    @staticmethod
    def guard(alone: bool, sink: EventLog, **options: Any) -> Guard:
        if alone:
            return RequestsMiddleware(plain, sinks=(sink,), **options)
        return Guard(plain, policies=[RequestsPolicy(RequestsSettings(), Context(sinks=(sink,), **options))])

    def test_the_client_is_told_nothing_and_the_operator_everything(self, alone: bool) -> None:
        log = EventLog()
        sent = drive(self.guard(alone, log), http_scope("/a//b"))
        assert (sent.status, sent.body, sent.header(b"cache-control")) == (400, b"Bad Request\n", b"no-store")
        assert (log.last.code, log.last.reason, log.last.path) == (
            "requests.path",
            "the path has an empty segment",
            "/a//b",
        )
        assert (log.last.client, log.last.status) == ("203.0.113.9", 400)

    def test_in_development_the_body_says_why(self, alone: bool) -> None:
        body = drive(self.guard(alone, EventLog(), environment="development"), http_scope("/a//b")).body
        assert body == b"Bad Request\nrequests.path: the path has an empty segment\n"

    def test_a_rehearsal_lets_the_request_pass(self, alone: bool) -> None:
        log = EventLog()
        assert drive(self.guard(alone, log, mode="report"), http_scope("/a//b")).status == 200
        assert log.told == [("rehearsed", "requests.path")]

    def test_a_websocket_is_denied_with_a_response(self, alone: bool) -> None:
        sent = drive(self.guard(alone, EventLog()), websocket_scope("/a//b"))
        assert (sent.types[0], sent.status) == ("websocket.http.response.start", 400)

    def test_a_websocket_is_closed_where_the_server_knows_no_denial(self, alone: bool) -> None:
        sent = drive(self.guard(alone, EventLog()), websocket_scope("/a//b", denial=False))
        assert (sent.types, sent.closed) == (["websocket.close"], 1008)


def test_the_sections_own_mode_rehearses_too() -> None:
    log = EventLog()
    app = RequestsMiddleware(plain, RequestsSettings(mode="report"), sinks=(log,))
    assert drive(app, http_scope("//")).status == 200
    assert log.told == [("rehearsed", "requests.path")]


@given(st.text(max_size=60))
def test_no_path_passes_that_has_what_frameworks_disagree_about(path: str) -> None:
    passes = refusal(path) == "passes"
    segments = path.split("/")
    sound = (
        path.startswith("/")
        and "" not in segments[1:-1]
        and not {".", ".."} & set(segments)
        and not set(path) & {"\\", "\0", "\ufffd"}
        and not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in path)
    )
    assert not passes or sound
    assert passes or not sound or "%" in path or ";" in path


@given(
    st.lists(st.tuples(st.sampled_from([b"host", b"a", b"sec-fetch-x", b"origin"]), st.binary(max_size=8)), max_size=8)
)
def test_whatever_the_lines_the_answer_is_a_refusal_or_single_lines(lines: list[Line]) -> None:
    if refusal(headers=lines, host=None) == "passes":
        names = [name for name, _ in lines if name != b"a"]
        assert len(names) == len(set(names))
