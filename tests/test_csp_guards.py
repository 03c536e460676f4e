"""Guards in Guards, and apps beside each other: who shares the nonce and whose policy is amended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Send

from secguard import Guard
from secguard.csp import NONCE, CSPMiddleware, CSPPolicy, CSPSettings, csp
from secguard.hosts import HostsPolicy, HostsSettings
from secguard.policy import Context
from tests.csp_pages import ENFORCED, REPORT_ONLY, load, nonces, only, page, read_nonce
from tests.helpers import Message, Scope, attempt, drive, http_scope, step_through, websocket_scope
from tests.test_isolation import no_garbage

NOTHING = dict.fromkeys(only(load(profile="api").header(ENFORCED)), None)


def reporting(app: ASGIApp) -> Guard:
    """A Guard that enforces nothing and reports every script."""
    return CSPMiddleware(app, CSPSettings(directives=NOTHING, report_only={"script_src": NONCE}), profile="api")


def mounted(app: ASGIApp, path: str = "/inner") -> ASGIApp:
    return Starlette(routes=[Mount(path, app=app)])


NESTED: dict[str, tuple[Callable[[ASGIApp], ASGIApp], str]] = {
    "right inside": (reporting, "/"),
    "inside a mount": (lambda app: mounted(reporting(app)), "/inner/page"),
    "inside two mounts": (lambda app: mounted(mounted(reporting(app))), "/inner/inner/page"),
    "three deep": (lambda app: CSPMiddleware(mounted(reporting(app))), "/inner/page"),
    "inside another app": (lambda app: Starlette(middleware=[Middleware(reporting)], routes=[Mount("/", app)]), "/x"),
}


@pytest.mark.parametrize("make_scope", [http_scope, websocket_scope])
@pytest.mark.parametrize(("nest", "path"), NESTED.values(), ids=NESTED)
def test_guards_in_guards_share_the_nonce(
    nest: Callable[[ASGIApp], ASGIApp], path: str, make_scope: Callable[[str], Scope]
) -> None:
    sent = drive(CSPMiddleware(nest(page(read_nonce))), make_scope(path))
    told = sent.body.decode() or (sent.header(b"x-told") or b"").decode()
    assert nonces(sent.header(ENFORCED)) == nonces(sent.header(REPORT_ONLY)) == {f"'nonce-{told}'"}


@pytest.mark.parametrize(("nest", "path"), NESTED.values(), ids=NESTED)
def test_a_nonce_that_was_read_further_out_counts_further_in(nest: Callable[[ASGIApp], ASGIApp], path: str) -> None:
    """Law 1: two Guards send what one would."""
    read: list[str] = []

    def between(app: ASGIApp) -> ASGIApp:
        async def reading(scope: Scope, receive: Receive, send: Send) -> None:
            read.append(read_nonce(HTTPConnection(scope)))
            await app(scope, receive, send)

        return reading

    sent = drive(CSPMiddleware(between(nest(page(None)))), http_scope(path))
    assert nonces(sent.header(ENFORCED)) == nonces(sent.header(REPORT_ONLY)) == {f"'nonce-{read[0]}'"}


@pytest.mark.parametrize(("nest", "path"), NESTED.values(), ids=NESTED)
def test_too_late_for_the_outer_guard_is_too_late_for_the_inner_one(
    nest: Callable[[ASGIApp], ASGIApp], path: str
) -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        read_nonce(HTTPConnection(scope))

    assert isinstance(attempt(CSPMiddleware(nest(late)), http_scope(path)).error, RuntimeError)


def test_of_two_policies_that_are_enforced_the_inner_one_stands_and_is_amended() -> None:
    def ask(request: HTTPConnection) -> str:
        csp(request).add(img_src="https://cdn.example.com")
        return read_nonce(request)

    inner = CSPMiddleware(page(ask), CSPSettings(directives={"font_src": "https:"}), profile="strict")
    for app, path in ((inner, "/"), (mounted(inner), "/inner/x")):
        sent = drive(CSPMiddleware(app), http_scope(path))
        policy = only(sent.header(ENFORCED))
        assert policy["img-src"] == ("'self'", "data:", "https://cdn.example.com")
        assert policy["font-src"] == ("https:",)
        assert policy["script-src"] == (f"'nonce-{sent.body.decode()}'", "'strict-dynamic'")


def test_a_guard_without_csp_in_between_hides_nothing() -> None:
    def ask(request: HTTPConnection) -> str:
        csp(request).add(img_src="https://cdn.example.com")
        return read_nonce(request)

    hosts = Guard(page(ask), policies=[HostsPolicy(HostsSettings(allowed=("example.com",)), Context(sinks=()))])
    for app, path in ((hosts, "/"), (mounted(hosts), "/inner/x")):
        sent = drive(CSPMiddleware(app), http_scope(path))
        assert nonces(sent.header(ENFORCED)) == {f"'nonce-{sent.body.decode()}'"}
        assert "https://cdn.example.com" in only(sent.header(ENFORCED))["img-src"]


def test_two_apps_in_one_process_share_nothing() -> None:
    def ask(request: HTTPConnection) -> str:
        csp(request).add(img_src="https://one.example")
        return read_nonce(request)

    one, other = CSPMiddleware(page(ask)), CSPMiddleware(page(read_nonce), profile="strict")
    for _ in range(2):
        first, second = drive(one, http_scope()), drive(other, http_scope())
        assert nonces(first.header(ENFORCED)) == {f"'nonce-{first.body.decode()}'"}
        assert nonces(second.header(ENFORCED)) == {f"'nonce-{second.body.decode()}'"}
        assert first.body != second.body
        assert "https://one.example" not in only(second.header(ENFORCED))["img-src"]


@pytest.mark.parametrize(
    "first",
    [None, read_nonce, lambda request: csp(request).add(img_src="https://one.example")],
    ids=["asked nothing", "read its nonce", "changed its policy"],
)
def test_an_app_that_is_asked_after_another_has_declined_is_not_too_late(first: Any) -> None:
    """A cascade asks the next app with the same scope, and drops what the first has answered."""

    def ask(request: HTTPConnection) -> str:
        csp(request).add(img_src="https://two.example")
        return read_nonce(request)

    async def cascade(scope: Scope, receive: Receive, send: Send) -> None:
        async def dropped(message: Message) -> None:
            assert message.get("status", 404) == 404

        await CSPMiddleware(page(first, 404))(scope, receive, dropped)
        await CSPMiddleware(page(ask))(scope, receive, send)

    sent = drive(cascade, http_scope())
    assert nonces(sent.header(ENFORCED)) == {f"'nonce-{sent.body.decode()}'"}
    assert only(sent.header(ENFORCED))["img-src"][-1] == "https://two.example"
    assert b"https://one.example" not in (sent.header(ENFORCED) or b"")


# --- nothing left behind ---


def amending(request: HTTPConnection) -> str:
    csp(request).add(img_src="https://cdn.example.com").drop("media_src")
    return read_nonce(request)


@pytest.mark.parametrize("nest", [lambda app: app, CSPMiddleware, mounted], ids=["one", "two", "mount"])
@pytest.mark.parametrize("make_scope", [http_scope, websocket_scope])
def test_a_request_that_reads_its_nonce_and_amends_leaves_no_reference_cycle(nest: Any, make_scope: Any) -> None:
    context = Context(sinks=())
    app = Guard(nest(page(amending)), policies=[CSPPolicy(CSPSettings(rollout="report"), context)])
    path = "/inner/x" if nest is mounted else "/"
    step_through(app, make_scope(path), [])
    with no_garbage():
        for _ in range(3):
            assert step_through(app, make_scope(path), []).error is None
