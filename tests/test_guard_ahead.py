"""Before the app runs: the Guard shows the body and the app to its policies, and hides what is not to be found."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Send
from starlette.websockets import WebSocket

from secguard import Guard, protect
from secguard._http import Lines, override
from secguard._paths import Matched, PathRules
from secguard.policy import Context, Exchange, Looker, Message, Mode, Outcome, Policy, Reply
from tests.helpers import EventLog, Scope, attempt, drive, http_scope, websocket_scope

# --- look_ahead ---


class Foresight(Policy):
    """Wants to see `secret` in the body before the app runs; a header says that there is no need to."""

    def __init__(self, context: Context, word: bytes = b"secret") -> None:
        super().__init__(context)
        self.word = word
        self.seen: list[Message] = []

    def look_ahead(self, exchange: Exchange) -> Looker | None:
        if b"x-trusted" in exchange.headers:
            return None
        body = b""

        def look(message: Message) -> Reply | bool:
            nonlocal body
            self.seen.append(message)
            body += message.get("body", b"")
            if self.word in body:
                return True
            if message.get("more_body"):
                return False
            return self.context.refuse(exchange, HTTPStatus.FORBIDDEN, "ahead.missing", "the word is missing")

        return look


class Counter(Policy):
    """Counts what comes in, as a limit on bodies does."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.bodies: list[bytes] = []

    def on_receive(self, exchange: Exchange, message: Message) -> None:
        self.bodies.append(message.get("body", b""))


class Echo:
    """An app that tells what it received, and whether it ran."""

    def __init__(self, reads: bool = True) -> None:
        self.reads = reads
        self.received: list[Message] = []
        self.ran = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.ran = True
        while self.reads:
            self.received.append(await receive())
            if not self.received[-1].get("more_body"):
                break
        await PlainTextResponse("ran")(scope, receive, send)


def body(*parts: bytes) -> list[Message]:
    messages: list[Message] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = False
    return messages


def ahead(app: ASGIApp, log: EventLog, mode: Mode = "enforce") -> tuple[Guard, Foresight, Counter]:
    context = Context(sinks=(log,), mode=mode)
    counter, foresight = Counter(context), Foresight(context)
    return Guard(app, policies=[counter, foresight]), foresight, counter


def test_app_receives_what_was_looked_at_unchanged_and_in_order() -> None:
    app = Echo()
    guard, _, counter = ahead(app, EventLog())
    parts = body(b"a sec", b"ret", b" and more", b"")
    assert drive(guard, http_scope(method="POST"), parts).body == b"ran"
    assert app.received == parts
    assert counter.bodies == [b"a sec", b"ret", b" and more", b""]


def test_no_more_is_read_ahead_than_is_wanted() -> None:
    app = Echo(reads=False)
    guard, foresight, counter = ahead(app, EventLog())
    drive(guard, http_scope(method="POST"), body(b"secret", b"never asked for"))
    assert len(foresight.seen) == 1
    assert counter.bodies == []  # nobody received anything


@pytest.mark.parametrize("reads", [True, False], ids=["app that reads", "app that reads nothing"])
def test_app_does_not_run_where_the_word_is_missing(reads: bool) -> None:
    app, log = Echo(reads), EventLog()
    guard, _, _ = ahead(app, log)
    assert drive(guard, http_scope(method="POST"), body(b"a", b"b")).status == 403
    assert not app.ran
    assert log.told == [("refused", "ahead.missing")]


def test_client_that_leaves_early_does_not_make_the_app_run() -> None:
    app = Echo(reads=False)
    guard, _, _ = ahead(app, EventLog())
    left: list[Message] = [{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}]
    assert drive(guard, http_scope(method="POST"), left).status == 403
    assert not app.ran


def test_missing_word_can_be_rehearsed() -> None:
    app, log = Echo(), EventLog()
    guard, _, _ = ahead(app, log, "report")
    assert drive(guard, http_scope(method="POST"), body(b"a", b"b")).body == b"ran"
    assert app.received == body(b"a", b"b")
    assert log.told == [("rehearsed", "ahead.missing")]


def test_nothing_is_read_where_nobody_needs_to_look() -> None:
    app = Echo(reads=False)
    guard, foresight, _ = ahead(app, EventLog())
    assert drive(guard, http_scope(method="POST", headers=[(b"x-trusted", b"1")]), body(b"a")).status == 200
    assert foresight.seen == []


def test_websocket_is_not_looked_into_ahead() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    guard, foresight, _ = ahead(app, EventLog())
    assert drive(guard, websocket_scope()).status == 101
    assert foresight.seen == []


def test_two_policies_look_at_the_same_messages() -> None:
    app, context = Echo(), Context(sinks=(EventLog(),))
    first, second = Foresight(context, b"one"), Foresight(context, b"two")
    guard = Guard(app, policies=[first, second])
    parts = body(b"one", b"two", b"three")
    drive(guard, http_scope(method="POST"), parts)
    assert (len(first.seen), len(second.seen)) == (1, 2)
    assert app.received == parts


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=8), st.binary(min_size=1, max_size=3))
def test_whatever_is_sent_arrives(parts: list[bytes], word: bytes) -> None:
    app, context = Echo(), Context(sinks=(EventLog(),), mode="report")
    guard = Guard(app, policies=[Foresight(context, word)])
    drive(guard, http_scope(method="POST"), body(*parts))
    assert app.received == body(*parts)


# --- unfound ---


class Hidden(Policy):
    """Hides /admin: the app is to answer as where it finds nothing."""

    refused = PathRules([["/admin"], ["/everything"]])

    def __init__(self, context: Context, always: bool = False) -> None:
        super().__init__(context)
        self.always = always
        self.done_with: list[bool] = []

    def admit(self, exchange: Exchange) -> Reply | None:
        if not (self.always or self.refused.match(exchange.paths)):
            return None
        refusal = self.context.refuse(exchange, HTTPStatus.NOT_FOUND, "hidden", "not for you")
        return Reply(refusal.status, refusal.headers, refusal.body, event=refusal.event, unfound=True)

    def done(self, exchange: Exchange, outcome: Outcome) -> None:
        self.done_with.append(exchange.unfound)


class Tagged(Policy):
    """Says on every response of /admin that it is one: what must not give a hidden page away."""

    rules = PathRules([["/admin"]])

    def declare(self, secure: bool, matched: Matched) -> list[Any]:
        return [override(b"x-area", b"admin" if matched else b"public")]


def hiding(app: ASGIApp, log: EventLog | None = None, always: bool = False) -> Guard:
    context = Context(sinks=(log or EventLog(),))
    return Guard(app, policies=[Tagged(context), Hidden(context, always)])


async def page(request: Request) -> Response:
    return PlainTextResponse(f"page {request.url.path}")


def fastapi() -> FastAPI:
    app = FastAPI()
    app.add_api_route("/admin", page)
    return app


def custom() -> Starlette:
    async def lost(request: Request, error: Exception) -> Response:
        return JSONResponse({"nothing": "here"}, 404, headers={"x-own": "1"})

    return Starlette(routes=[Route("/admin", page)], exception_handlers={404: lost})


def single_page() -> Starlette:
    async def index(request: Request) -> Response:
        return PlainTextResponse("index")

    return Starlette(routes=[Route("/admin", page), Route("/{rest:path}", index)])


@pytest.mark.parametrize("make", [fastapi, custom, single_page])
def test_hidden_page_looks_like_one_that_is_not_there(make: Any) -> None:
    guard = hiding(make())
    hidden, nothing = drive(guard, http_scope("/admin")), drive(guard, http_scope("/nothing"))
    assert hidden.messages == nothing.messages
    assert b"page" not in hidden.body


def test_hidden_page_is_told_of_by_its_own_path() -> None:
    log = EventLog()
    guard = hiding(fastapi(), log)
    drive(guard, http_scope("/admin"))
    assert [(event.code, event.status, event.path) for event in log.events] == [("hidden", 404, "/admin")]
    (policy,) = [policy for policy in guard.policies if isinstance(policy, Hidden)]
    assert policy.done_with == [True]


def test_scope_of_the_server_is_left_as_it_was() -> None:
    scope = http_scope("/admin")
    drive(hiding(fastapi()), scope)
    assert (scope["path"], scope["raw_path"]) == ("/admin", b"/admin")


def test_app_cannot_tell_which_page_was_asked_for() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await PlainTextResponse("x")(scope, receive, send)

    drive(hiding(app), http_scope("/admin"))
    drive(hiding(app), http_scope("/api/admin", root_path="/api"))
    first, second = (scope["path"] for scope in seen)
    assert len(first) == len("/") + 32
    assert second.startswith("/api/")
    assert len(second) == len("/api/") + 32
    assert all(scope["raw_path"] == scope["path"].encode() for scope in seen)


def test_hidden_websocket_is_refused_as_the_app_would() -> None:
    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()

    guard = hiding(Starlette(routes=[WebSocketRoute("/admin", endpoint)]))
    assert drive(guard, websocket_scope("/admin")).messages == drive(guard, websocket_scope("/none")).messages


def test_plain_404_where_every_path_is_hidden() -> None:
    """An app that answers every path, as single-page apps do, must not do so for who is refused everywhere."""
    log = EventLog()
    sent = drive(hiding(single_page(), log, always=True), http_scope("/anything"))
    assert log.codes == ["hidden"]
    assert (sent.status, sent.body) == (404, b"Not Found\n")


def test_guard_inside_sees_the_path_that_is_not_there() -> None:
    log = EventLog()
    guard = hiding(hiding(fastapi(), log), log)
    assert drive(guard, http_scope("/admin")).status == 404
    assert log.codes == ["hidden"]


# --- meet ---


class Meeting(Policy):
    """Remembers the apps it met."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.met: list[object] = []

    def meet(self, app: object) -> None:
        self.met.append(app)


class OnePolicy:
    """Settings of a single policy."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def policies(self) -> list[Policy]:
        return [self.policy]


def test_guard_shows_its_app_to_the_policies() -> None:
    meeting, app = Meeting(Context()), Starlette()
    Guard(app, policies=[meeting])
    assert meeting.met == [app]


def test_protected_app_is_shown_when_it_is_put_together() -> None:
    meeting, app = Meeting(Context()), Starlette()
    protect(app, OnePolicy(meeting))
    app.user_middleware.append(Middleware(Guard, policies=[]))
    app.router.routes.append(Mount("/", FastAPI()))
    before = len(meeting.met)
    drive(app, http_scope("/nothing"))
    assert meeting.met[before:] == [app]


def test_guard_outside_with_rules_of_its_own_gives_a_hidden_page_away_no_more_than_one_inside() -> None:
    context = Context(sinks=())
    guard = Guard(Guard(fastapi(), policies=[Hidden(context)]), policies=[Tagged(context)])
    assert drive(guard, http_scope("/admin")).messages == drive(guard, http_scope("/nothing")).messages


def test_hidden_page_is_hidden_behind_a_policy_that_waits() -> None:
    class Waiting(Policy):
        async def finish(self, exchange: Exchange, headers: Lines) -> None:
            headers.append((b"x-waited", b"1"))

    context = Context(sinks=())
    guard = Guard(fastapi(), policies=[Tagged(context), Waiting(context), Hidden(context)])
    hidden = drive(guard, http_scope("/admin"))
    assert hidden.messages == drive(guard, http_scope("/nothing")).messages
    assert hidden.header(b"x-area") == b"public"


def test_error_on_the_way_to_a_hidden_page_does_not_give_it_away() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("the app's own")

    hidden, nothing = (attempt(hiding(failing), http_scope(path)) for path in ("/admin", "/nothing"))
    assert hidden.messages == nothing.messages
    assert hidden.status == 500
