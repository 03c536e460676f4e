"""What policies offer to endpoints, and the headers that change when an endpoint takes them up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Send

from secguard import Guard
from secguard._http import Declared, Lines, keep, override
from secguard._paths import Matched
from secguard.policy import Context, Exchange, Policy
from tests.helpers import Line, Scope, answering, drive, http_scope, plain, websocket_scope

SILENT = Context(sinks=())


class Gift(Policy):
    """Offers a word, and says in its header whether somebody took it."""

    def __init__(self, name: str = "gift", context: Context = SILENT) -> None:
        super().__init__(context)
        self.header = f"x-{name}".encode()
        self.offers = MappingProxyType({name: self._give})

    def _give(self, exchange: Exchange) -> str:
        exchange.note(self, b"taken")
        return "a gift"

    def declare(self, secure: bool, matched: Matched) -> Iterable[Declared]:
        return [keep(self.header, b"untaken")]

    def revise(self, exchange: Exchange, headers: Lines) -> None:
        override(self.header, exchange.notes.get(self, b"%d" % (exchange.status or 0))).apply(headers)


class Finishing(Policy):
    """Writes down which lines it finds, and how many there are."""

    def __init__(self, name: bytes = b"x-found", context: Context = SILENT) -> None:
        super().__init__(context)
        self.name = name

    def declare(self, secure: bool, matched: Matched) -> Iterable[Declared]:
        return [override(b"x-plain", b"1")]

    def finish(self, exchange: Exchange, headers: Lines) -> None:
        headers.append((self.name, b" ".join(name for name, _ in headers)))


class Waiting(Finishing):
    async def finish(self, exchange: Exchange, headers: Lines) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().finish(exchange, headers)


class Two(Gift):
    """Has both hooks: what it declares or revises comes first."""

    def finish(self, exchange: Exchange, headers: Lines) -> None:
        headers.append((b"x-finish", dict(headers)[self.header]))


def taking(name: str = "gift", status: int = 200, lines: Iterable[Line] = ()) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["state"][name] == "a gift"
        await answering(status, lines)(scope, receive, send)

    return app


def guarded(app: ASGIApp, *policies: Policy) -> Guard:
    return Guard(app, policies=policies)


def test_an_offer_that_nobody_takes_changes_nothing() -> None:
    assert drive(guarded(plain, Gift()), http_scope()).header(b"x-gift") == b"untaken"


def test_an_offer_that_is_taken_is_made_once_it_is_and_changes_the_headers() -> None:
    assert drive(guarded(taking(), Gift()), http_scope()).header(b"x-gift") == b"taken"


def test_the_denial_of_a_websocket_is_revised_too() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["state"]["gift"] == "a gift"
        await send({"type": "websocket.http.response.start", "status": 403, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})

    assert drive(guarded(app, Gift()), websocket_scope()).header(b"x-gift") == b"taken"


def test_a_304_is_revised_though_nobody_took_anything() -> None:
    assert drive(guarded(answering(304), Gift()), http_scope()).header(b"x-gift") == b"304"


def test_what_is_taken_by_one_request_is_untaken_in_the_next() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/take":
            assert scope["state"]["gift"] == "a gift"
        await plain(scope, receive, send)

    guard = guarded(app, Gift())
    found = [drive(guard, http_scope(path)).header(b"x-gift") for path in ("/", "/take", "/")]
    assert found == [b"untaken", b"taken", b"untaken"]


@pytest.mark.parametrize("finishing", [Finishing, Waiting], ids=["plain", "async"])
@pytest.mark.parametrize("app", [plain, taking(lines=[(b"content-type", b"text/plain")])], ids=["untaken", "taken"])
def test_what_is_revised_stands_where_it_would_be_declared(app: ASGIApp, finishing: Callable[..., Policy]) -> None:
    sent = drive(guarded(app, finishing(b"x-outer"), Gift(), finishing(b"x-inner")), http_scope())
    assert sent.header(b"x-inner") == b"content-type x-plain"
    assert sent.header(b"x-outer") == b"content-type x-inner x-gift x-plain"


def test_a_policy_may_revise_and_finish() -> None:
    assert drive(guarded(taking(), Two()), http_scope()).header(b"x-finish") == b"taken"
    assert drive(guarded(plain, Two()), http_scope()).header(b"x-finish") == b"untaken"


def test_the_app_may_set_the_header_of_what_it_takes() -> None:
    app = taking(lines=[(b"X-Gift", b"own"), (b"x-gift", b"other")])
    assert drive(guarded(app, Gift()), http_scope()).header(b"x-gift") == b"taken"


def test_too_late_is_an_error_that_says_so() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await plain(scope, receive, send)
        with pytest.raises(RuntimeError, match="comes too late"):
            scope["state"]["gift"]

    assert drive(guarded(app, Gift()), http_scope()).header(b"x-gift") == b"untaken"


def test_an_app_that_is_tried_after_another_has_answered_is_not_too_late() -> None:
    scope = http_scope()
    drive(guarded(answering(404), Gift()), scope)
    assert drive(guarded(taking(), Gift()), scope).header(b"x-gift") == b"taken"


def test_a_guard_without_offers_leaves_the_state_alone() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["state"])
        await plain(scope, receive, send)

    state = {"own": 1}
    drive(guarded(app, Finishing()), http_scope(state=state))
    assert seen[0] is state


def test_of_two_offers_of_one_name_the_innermost_is_made() -> None:
    outer, inner = Gift(), Gift()
    for guard in (guarded(taking(), outer, inner), guarded(guarded(taking(), inner), outer)):
        scope = http_scope()
        drive(guard, scope)
        assert list(scope["secguard"].notes) == [inner]


def test_offers_of_every_guard_are_at_hand() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        assert [name in state for name in ("one", "two", "three")] == [True, True, False]
        assert (state["one"], state["two"]) == ("a gift", "a gift")
        with pytest.raises(KeyError):
            state["three"]
        await plain(scope, receive, send)

    sent = drive(guarded(guarded(app, Gift("one")), Gift("two")), http_scope())
    assert (sent.header(b"x-one"), sent.header(b"x-two")) == (b"taken", b"taken")


class TestState:
    """The state goes on being the one that was there."""

    @staticmethod
    def run(use: Callable[[Any], None], state: dict[str, Any] | None) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            use(scope["state"])
            await plain(scope, receive, send)

        scope = http_scope(state=state)
        if state is None:
            del scope["state"]
        drive(guarded(app, Gift()), scope)

    def test_what_was_there_is_seen_and_what_is_put_there_is_seen_outside(self) -> None:
        state = {"held": 1, "spare": 2}

        def use(inner: Any) -> None:
            assert (inner["held"], len(inner), sorted(inner)) == (1, 2, ["held", "spare"])
            inner["new"] = 3
            del inner["spare"]

        self.run(use, state)
        assert state == {"held": 1, "new": 3}

    def test_what_somebody_puts_there_hides_an_offer(self) -> None:
        def use(inner: Any) -> None:
            inner["gift"] = "mine"
            assert inner["gift"] == "mine"

        self.run(use, {})

    def test_an_offer_is_there_but_never_listed(self) -> None:
        def use(inner: Any) -> None:
            assert "gift" in inner
            assert dict(inner) == {}

        self.run(use, {})

    def test_a_server_need_not_bring_a_state(self) -> None:
        def use(inner: Any) -> None:
            assert inner["gift"] == "a gift"
            inner["own"] = 1
            assert dict(inner) == {"own": 1}

        self.run(use, None)

    def test_a_name_that_is_nowhere_is_missing(self) -> None:
        def use(inner: Any) -> None:
            with pytest.raises(KeyError):
                inner["other"]
            with pytest.raises(KeyError):
                del inner["gift"]

        self.run(use, {})
