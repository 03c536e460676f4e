"""Tokens in forms, through the Guard: nothing acts unverified, and nothing waits for an upload."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

import secguard.csrf
from secguard import Guard
from secguard.csrf import CSRFMiddleware, CSRFPolicy, CSRFSettings
from secguard.csrf.forms import FURTHEST
from secguard.csrf.policy import TokenPolicy
from secguard.csrf.token import Tokens
from secguard.headers import HeadersPolicy, HeadersSettings
from secguard.policy import Context, Keys
from tests.csrf_requests import CROSS_SITE, FOREIGN, SAME_ORIGIN
from tests.helpers import EventLog, Line, Message, Scope, drive, http_scope, step_through
from tests.test_isolation import no_garbage

KEYS = Keys(["Q5fO9kz1Vv0sHn3dTjYw7LxBc2RmGe8u"])
VISITOR = b"v" * 43
TOKEN = Tokens(KEYS.derive("csrf-token", "cookie")).make(VISITOR).encode()
COOKIE = (b"cookie", b"__Host-Http-csrf=" + VISITOR)
URLENCODED = (b"content-type", b"application/x-www-form-urlencoded")
MULTIPART = (b"content-type", b"multipart/form-data; boundary=edge")
SECTION = CSRFSettings.model_validate({"token": {"paths": ["/"], "form_paths": ["/forms"]}})

acted: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_has_acted() -> Iterator[None]:
    acted.clear()
    yield
    acted.clear()


async def reads(request: Request) -> JSONResponse:
    acted.append("reads")
    async with request.form() as form:
        told = {
            name: value if isinstance(value, str) else (await value.read()).decode("latin-1")
            for name, value in form.multi_items()
        }
    return JSONResponse({"fields": told})


async def streams(request: Request) -> PlainTextResponse:
    acted.append("streams")
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return PlainTextResponse(str(size))


async def ignores(request: Request) -> PlainTextResponse:
    acted.append("ignores")
    return PlainTextResponse("deleted")


site = Starlette(
    routes=[
        Route(path, endpoint, methods=["POST"])
        for endpoint in (reads, streams, ignores)
        for path in (f"/forms/{endpoint.__name__}", f"/{endpoint.__name__}")
    ]
)


def guarded(app: ASGIApp = site, section: CSRFSettings = SECTION, log: EventLog | None = None) -> CSRFMiddleware:
    return CSRFMiddleware(app, section, keys=KEYS, sinks=(log or EventLog(),))


def posted(path: str, *lines: Line) -> Scope:
    return http_scope(path, [SAME_ORIGIN, COOKIE, *lines], "POST")


def pieces(body: bytes, size: int = 1_000_000) -> list[Message]:
    cut = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    return [{"type": "http.request", "body": piece, "more_body": at < len(cut)} for at, piece in enumerate(cut, 1)]


def part(name: str, value: bytes, more: str = "") -> bytes:
    return f'--edge\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


UPLOAD = part("csrf_token", TOKEN) + part("file", b"\0\xff" * 5000, '; filename="x"') + b"--edge--\r\n"

FORMS: dict[str, tuple[Line, bytes, dict[str, str]]] = {
    "urlencoded": (
        URLENCODED, b"name=x+y&csrf_token=" + TOKEN + b"&then=z",
        {"name": "x y", "csrf_token": TOKEN.decode(), "then": "z"},
    ),
    "multipart": (MULTIPART, UPLOAD, {"csrf_token": TOKEN.decode(), "file": "\0\xff" * 5000}),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "body", "fields"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_the_app_reads_the_whole_form(kind: Line, body: bytes, fields: dict[str, str], size: int) -> None:
    sent = drive(guarded(), posted("/forms/reads", kind), pieces(body, size))
    assert sent.status == 200
    assert sent.body == JSONResponse({"fields": fields}).body


@pytest.mark.parametrize(("kind", "body", "fields"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("size", [1, 1_000_000])
def test_every_message_arrives_unchanged_in_order_and_once(
    kind: Line, body: bytes, fields: dict[str, str], size: int
) -> None:
    arrived: list[Message] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        while not arrived or arrived[-1]["more_body"]:
            arrived.append(await receive())
        await PlainTextResponse("ok")(scope, receive, send)

    incoming = pieces(body, size)
    drive(guarded(app), posted("/forms", kind), incoming)
    assert [id(message) for message in arrived] == [id(message) for message in incoming]


REFUSED: dict[str, tuple[tuple[Line, ...], bytes, str]] = {
    "no token in the form": ((URLENCODED,), b"name=x", "as the field csrf_token, within the first 64 KiB"),
    "an empty form": ((URLENCODED,), b"", "as the field csrf_token"),
    "somebody else's token": ((URLENCODED,), b"csrf_token=" + b"A" * 86, "not this visitor's"),
    "an empty token": ((URLENCODED,), b"csrf_token=", "not this visitor's"),
    "a token behind 64 KiB": ((URLENCODED,), b"a=" + b"x" * FURTHEST + b"&csrf_token=" + TOKEN, "64 KiB"),
    "a token behind an upload": (
        (MULTIPART,),
        part("file", b"\0" * FURTHEST, '; filename="x"') + part("csrf_token", TOKEN) + b"--edge--\r\n",
        "64 KiB",
    ),
    "no form at all": ((MULTIPART,), b"csrf_token=" + TOKEN, "as the field"),
    "JSON": (((b"content-type", b"application/json"),), b'{"csrf_token": "' + TOKEN + b'"}', "in the header"),
    "no content type": ((), b"csrf_token=" + TOKEN, "in the header"),
    "a wrong token in the header": (
        (URLENCODED, (b"x-csrf-token", b"x")),
        b"csrf_token=" + TOKEN,
        "not this visitor's",
    ),
}


@pytest.mark.parametrize(("lines", "body", "reason"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("endpoint", ["reads", "ignores"])
@pytest.mark.parametrize("size", [500, 1_000_000])
def test_nothing_acts_without_a_token(
    lines: tuple[Line, ...], body: bytes, reason: str, endpoint: str, size: int
) -> None:
    log = EventLog()
    sent = drive(guarded(log=log), posted(f"/forms/{endpoint}", *lines), pieces(body, size))
    assert (sent.status, acted) == (403, [])
    assert sent.header(b"cache-control") == b"no-store"
    assert log.told == [("refused", "csrf.token")]
    assert reason in log.last.reason


def test_another_site_is_refused_before_its_form_is_looked_at() -> None:
    asked = False

    async def receive() -> Message:
        nonlocal asked
        asked = True
        return {"type": "http.request", "body": b""}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = http_scope("/forms/ignores", [FOREIGN, CROSS_SITE, COOKIE, URLENCODED], "POST")
    asyncio.run(guarded()(scope, receive, send))
    assert sent[0]["status"] == 403
    assert not asked


def test_forms_are_not_read_elsewhere() -> None:
    assert drive(guarded(), posted("/reads", URLENCODED), pieces(b"csrf_token=" + TOKEN)).status == 403
    token = (b"x-csrf-token", TOKEN)
    assert drive(guarded(), posted("/reads", URLENCODED, token), pieces(b"a=b")).status == 200


def test_token_in_the_header_lets_the_form_be() -> None:
    sent = drive(guarded(), posted("/forms/reads", URLENCODED, (b"x-csrf-token", TOKEN)), pieces(b"a=b"))
    assert sent.body == JSONResponse({"fields": {"a": "b"}}).body


def test_nobody_waits_for_the_rest_of_an_upload() -> None:
    """The app has begun to read while most of the upload is still on its way."""
    gigabyte, chunk = 1 << 30, b"\0" * (1 << 16)
    head = part("csrf_token", TOKEN) + part("file", b"", '; filename="x"').removesuffix(b"\r\n")
    received = 0

    async def receive() -> Message:
        nonlocal received
        received += 1
        assert received < 3 or acted, "the app runs as soon as the token has come"
        body = head if received == 1 else chunk
        return {"type": "http.request", "body": body, "more_body": received * len(chunk) < gigabyte // 1024}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(guarded()(posted("/forms/streams", MULTIPART), receive, send))
    assert sent[0]["status"] == 200
    assert int(sent[1]["body"]) > 10 * len(chunk)


def test_no_more_than_64_kib_is_read_for_a_token() -> None:
    received = 0

    async def receive() -> Message:
        nonlocal received
        received += 1000
        return {"type": "http.request", "body": b"a=" + b"x" * 998, "more_body": True}

    async def send(message: Message) -> None:
        pass

    asyncio.run(guarded()(posted("/forms/ignores", URLENCODED), receive, send))
    assert received <= FURTHEST + 1000
    assert acted == []


def test_client_that_leaves_before_its_token_has_done_nothing() -> None:
    log = EventLog()
    incoming: list[Message] = [
        {"type": "http.request", "body": b"a=b&csrf_", "more_body": True},
        {"type": "http.disconnect"},
    ]
    drive(guarded(log=log), posted("/forms/ignores", URLENCODED), incoming)
    assert acted == []
    assert log.told == [("refused", "csrf.token")]


def test_refusal_can_be_rehearsed() -> None:
    log = EventLog()
    section = SECTION.model_copy(update={"mode": "report"})
    sent = drive(guarded(section=section, log=log), posted("/forms/reads", URLENCODED), pieces(b"a=b", 1))
    assert sent.body == JSONResponse({"fields": {"a": "b"}}).body
    assert log.told == [("rehearsed", "csrf.token")]


@pytest.mark.parametrize("body", [b"csrf_token=" + TOKEN, b"a=b"])
def test_one_guard_and_two_do_the_same(body: bytes) -> None:
    context = Context(keys=KEYS, sinks=())
    headers, csrf = HeadersPolicy(HeadersSettings(), context), CSRFPolicy(SECTION, context)
    one = Guard(site, policies=[headers, csrf])
    two = Guard(Guard(site, policies=[csrf]), policies=[headers])
    answers = [drive(guard, posted("/forms/ignores", URLENCODED), pieces(body, 3)).messages for guard in (one, two)]
    assert answers[0] == answers[1]


async def plain_reader(scope: Scope, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("body", [UPLOAD, b"--edge\r\n" + UPLOAD[:60], b""])
def test_a_form_leaves_no_reference_cycle(body: bytes) -> None:
    app = guarded(plain_reader)
    step_through(app, posted("/forms", MULTIPART), pieces(body, 50))
    with no_garbage():
        step_through(app, posted("/forms", MULTIPART), pieces(body, 50))


def test_python_multipart_is_asked_for_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(secguard.csrf, "forms")
    monkeypatch.delitem(sys.modules, "secguard.csrf.forms")
    monkeypatch.setitem(sys.modules, "python_multipart.exceptions", None)
    with pytest.raises(RuntimeError, match=r"pip install 'secguard-asgi\[forms\]'"):
        CSRFPolicy(SECTION, Context(keys=KEYS))
    without_forms = CSRFSettings.model_validate({"token": {"paths": ["/"]}})
    assert type(CSRFPolicy(without_forms, Context(keys=KEYS))) is TokenPolicy
