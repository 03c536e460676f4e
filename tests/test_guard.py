"""How the Guard runs the hooks, answers in the app's place, and cuts an app off whose client was refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import pytest
from starlette.types import Receive, Send

from secguard import Guard
from secguard._http import Declared, Lines, override
from secguard._paths import Matched, PathRules
from secguard.policy import Context, Exchange, Message, Outcome, Policy, Reply
from tests.helpers import EventLog, Scope, attempt, drive, http_scope, plain, websocket_scope

Log = list[str]


@dataclass
class Trace:
    """Policies that write down what they are asked, and what each of them made of it."""

    log: Log = field(default_factory=list)
    context: Context = field(default_factory=lambda: Context(sinks=()))
    outcomes: list[Outcome] = field(default_factory=list)

    def policy(self, name: str, *, refuses: str = "", waits: bool = False) -> Policy:
        trace = self

        def declare(policy: Policy, secure: bool, matched: Matched) -> list[Declared]:
            return [override(f"x-{name}".encode(), b"secure" if secure else b"plain")]

        def admit(policy: Policy, exchange: Exchange) -> Reply | None:
            trace.log.append(f"admit {name}")
            return Reply(403, ((b"x-by", name.encode()),), b"no") if refuses == "admit" else None

        def finish(policy: Policy, exchange: Exchange, headers: Lines) -> None:
            trace.log.append(f"finish {name}")

        def on_receive(policy: Policy, exchange: Exchange, message: Message) -> Reply | None:
            trace.log.append(f"receive {name}")
            bad = refuses == "receive" and message["type"] in {"http.request", "websocket.receive"}
            return Reply(413, ((b"x-by", name.encode()),), b"too large", close_code=1009) if bad else None

        def done(policy: Policy, exchange: Exchange, outcome: Outcome) -> None:
            trace.log.append(f"done {name}")
            trace.outcomes.append(outcome)

        def waiting(hook: Callable[..., Any]) -> Callable[..., Any]:
            async def later(*arguments: Any) -> Any:
                await asyncio.sleep(0)
                return hook(*arguments)

            return later

        hooks: dict[str, Any] = {"admit": admit, "finish": finish, "on_receive": on_receive, "done": done}
        if waits:
            hooks = {hook_name: waiting(hook) for hook_name, hook in hooks.items()}
        return type("Traced", (Policy,), {"declare": declare, **hooks})(self.context)  # type: ignore[no-any-return]


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await plain(scope, receive, send)


# --- the order of hooks ---


@pytest.mark.parametrize("waits", [False, True], ids=["plain", "async"])
def test_hooks_run_outermost_first_on_the_way_in_and_innermost_first_on_the_way_out(waits: bool) -> None:
    trace = Trace()
    guard = Guard(reading, policies=[trace.policy("a", waits=waits), trace.policy("b", waits=waits)])
    assert drive(guard, http_scope()).status == 200
    assert trace.log == [
        *("admit a", "admit b", "receive a", "receive b", "finish b", "finish a", "done b", "done a"),
    ]
    assert trace.outcomes == [Outcome(200)] * 2


@pytest.mark.parametrize("waits", [False, True], ids=["plain", "async"])
def test_the_first_reply_wins_and_passes_the_policies_outside_it(waits: bool) -> None:
    trace = Trace()
    policies = [trace.policy("a"), trace.policy("b", refuses="admit", waits=waits), trace.policy("c", refuses="admit")]
    sent = drive(Guard(reading, policies=policies), http_scope(scheme="http"))
    assert (sent.status, sent.body, sent.header(b"x-by")) == (403, b"no", b"b")
    assert (sent.header(b"x-a"), sent.header(b"x-b"), sent.header(b"x-c")) == (b"plain", None, None)
    assert trace.log == ["admit a", "admit b", "finish a", "done a"]
    assert trace.outcomes == [Outcome(403)]


def test_hooks_may_be_mixed() -> None:
    trace = Trace()
    guard = Guard(reading, policies=[trace.policy("a"), trace.policy("b", waits=True), trace.policy("c")])
    assert drive(guard, http_scope()).header(b"x-c") == b"secure"
    assert trace.log[:3] == ["admit a", "admit b", "admit c"]
    assert trace.log[-6:] == ["finish c", "finish b", "finish a", "done c", "done b", "done a"]


def test_a_reply_to_head_has_no_body_but_its_length() -> None:
    trace = Trace()
    sent = drive(Guard(plain, policies=[trace.policy("a", refuses="admit")]), http_scope(method="HEAD"))
    assert (sent.status, sent.body, sent.header(b"content-length")) == (403, b"", b"2")
    assert sent.types == ["http.response.start", "http.response.body"]


def test_lines_are_declared_by_the_path_as_routed() -> None:
    class ByPath(Policy):
        rules = PathRules([["/admin"], ["/admin/{id}", "/users"]])

        def declare(self, secure: bool, matched: Matched) -> list[Declared]:
            return [override(b"x-matched", repr(matched).encode())]

    guard = Guard(plain, policies=[ByPath()])
    for path, root_path, matched in [
        ("/", "", b"()"),
        ("/admin", "", b"(0,)"),
        ("/admin/7", "", b"(0, 1)"),
        ("/api/users", "/api", b"(1,)"),
        ("/api/users", "", b"()"),
        ("/administrator", "", b"()"),
    ]:
        assert drive(guard, http_scope(path, root_path=root_path)).header(b"x-matched") == matched


# --- apps that raise ---


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("broken")


async def broken_late(scope: Scope, receive: Receive, send: Send) -> None:
    await plain(scope, receive, send)
    raise ValueError("broken late")


def test_an_app_that_raises_gets_a_hardened_500_and_the_server_hears_of_it() -> None:
    trace = Trace()
    sent = attempt(Guard(broken, policies=[trace.policy("a")]), http_scope())
    assert (sent.status, sent.header(b"x-a"), sent.body) == (500, b"secure", b"Internal Server Error\n")
    assert str(sent.error) == "broken"
    (outcome,) = trace.outcomes
    assert (outcome.status, outcome.error) == (500, sent.error)


def test_a_guard_that_only_declares_answers_for_the_app_too() -> None:
    class Declaring(Policy):
        def declare(self, secure: bool, matched: Matched) -> list[Declared]:
            return [override(b"x-a", b"1")]

    sent = attempt(Guard(broken, policies=[Declaring()]), http_scope())
    assert (sent.status, sent.header(b"x-a")) == (500, b"1")


def test_an_app_that_raises_late_gets_no_second_start() -> None:
    trace = Trace()
    sent = attempt(Guard(broken_late, policies=[trace.policy("a")]), http_scope())
    assert sent.types == ["http.response.start", "http.response.body"]
    assert (sent.status, str(sent.error)) == (200, "broken late")
    assert trace.outcomes == [Outcome(200, sent.error)]


def test_a_websocket_whose_app_raises_is_the_servers_to_close() -> None:
    trace = Trace()
    sent = attempt(Guard(broken, policies=[trace.policy("a")]), websocket_scope())
    assert sent.messages == []
    assert str(sent.error) == "broken"
    assert trace.outcomes == [Outcome(None, sent.error)]


def test_a_policy_that_raises_gets_a_500_through_the_policies_outside_it() -> None:
    class Broken(Policy):
        def admit(self, exchange: Exchange) -> None:
            raise ValueError("broken policy")

    trace = Trace()
    policies = [trace.policy("a"), Broken(trace.context), trace.policy("c")]
    sent = attempt(Guard(plain, policies=policies), http_scope())
    assert (sent.status, sent.header(b"x-a"), sent.header(b"x-c")) == (500, b"secure", None)
    assert str(sent.error) == "broken policy"
    assert trace.log == ["admit a", "finish a", "done a"]


@pytest.mark.parametrize("waits", [False, True], ids=["plain", "async"])
def test_a_finish_that_raises_leaves_the_servers_own_500(waits: bool) -> None:
    class Broken(Policy):
        def finish(self, exchange: Exchange, headers: Lines) -> None:
            raise ValueError("broken finish")

    trace = Trace()
    policies = [trace.policy("a", waits=waits), Broken(trace.context)]
    sent = attempt(Guard(plain, policies=policies), http_scope())
    assert (sent.messages, str(sent.error)) == ([], "broken finish")
    assert trace.log == ["admit a", "done a"]


def test_everybody_releases_though_one_of_them_fails(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Policy):
        async def done(self, exchange: Exchange, outcome: Outcome) -> None:
            raise ValueError("broken done")

    trace = Trace()
    policies = [trace.policy("a"), Broken(trace.context), trace.policy("c")]
    assert drive(Guard(plain, policies=policies), http_scope()).status == 200
    assert trace.log[-2:] == ["done c", "done a"]
    assert "Broken.done failed" in caplog.text


def test_everybody_releases_though_the_client_is_gone_when_the_500_is_sent() -> None:
    trace = Trace()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise OSError("the client is gone")

    async def run() -> None:
        await Guard(broken, policies=[trace.policy("a")])(http_scope(), receive, send)

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(run())
    assert trace.log[-1] == "done a"


def test_everybody_releases_when_the_request_is_cancelled() -> None:
    trace = Trace()

    async def sleeping(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        messages: list[Message] = []

        async def send(message: Message) -> None:
            messages.append(message)

        task = asyncio.create_task(
            Guard(sleeping, policies=[trace.policy("a")])(http_scope(), asyncio.Event().wait, send)  # type: ignore[arg-type]
        )
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert messages == [], "there is nobody to answer"

    asyncio.run(run())
    assert trace.log == ["admit a", "done a"]
    assert isinstance(trace.outcomes[0].error, asyncio.CancelledError)


# --- scopes that are none of our business ---


@pytest.mark.parametrize("kind", ["lifespan", "never.heard.of"])
def test_other_scopes_pass_untouched(kind: str) -> None:
    passed: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.extend([scope, receive, send])

    async def run(scope: Scope) -> None:
        await Guard(app, policies=[Trace().policy("a")])(scope, asyncio.sleep, asyncio.sleep)  # type: ignore[arg-type]

    scope: Scope = {"type": kind}
    asyncio.run(run(scope))
    assert passed == [scope, asyncio.sleep, asyncio.sleep]
    assert scope == {"type": kind}


def test_a_refusal_is_told_with_its_status_and_client() -> None:
    class Refusing(Policy):
        def admit(self, exchange: Exchange) -> Reply:
            return self.context.refuse(exchange, HTTPStatus.FORBIDDEN, "x.y", "because")

    log = EventLog()
    drive(Guard(plain, policies=[Refusing(Context(sinks=(log,)))]), http_scope("/a"))
    assert (log.last.status, log.last.client, log.last.path) == (403, "203.0.113.9", "/a")


def test_a_redirect_is_no_refusal_and_is_never_rehearsed() -> None:
    class Redirecting(Policy):
        def admit(self, exchange: Exchange) -> Reply:
            return Reply(307, ((b"location", b"/x"),))

    sent = drive(Guard(plain, policies=[Redirecting(Context(mode="report"))]), http_scope())
    assert sent.status == 307
