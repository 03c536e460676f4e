"""request.state with an offer in it: it works as before, through Guards in Guards, and in every framework."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypedDict

import litestar
import pytest
from fastapi import FastAPI
from quart import Quart
from quart import request as quart_request
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from secguard.csp import CSPMiddleware, csp
from tests.csp_pages import ENFORCED, load, nonces, only, page, read_nonce
from tests.helpers import drive, http_scope

State = dict[str, Any]


# --- it works as before ---


def raises(work: Callable[[State], object]) -> Callable[[State], object]:
    def raising(state: State) -> object:
        try:
            return work(state)
        except Exception as error:
            return type(error), str(error)

    return raising


def deleting(name: str) -> Callable[[State], object]:
    def work(state: State) -> object:
        del state[name]
        return dict(state)

    return work


def joining(state: State) -> object:
    joined = state
    joined |= {"user": "b"}
    return joined is state, dict(state)


def changed(made: State) -> object:
    """Change a copy, which the state must not notice."""
    made["leak"] = 1
    return made


WORK: dict[str, Callable[[State], object]] = {
    "reading": lambda state: state["user"],
    "reading what is not there": lambda state: state["nothing"],
    "reading what is not there, with a default": lambda state: state.get("nothing", 7),
    "asking": lambda state: ("user" in state, "nothing" in state),
    "listing": lambda state: (dict(state), [*state], [*state.items()], len(state), bool(state)),
    "setting": lambda state: state.update(user="b", other=1),
    "setting a default": lambda state: (state.setdefault("user", 1), state.setdefault("other", 2)),
    "deleting": deleting("user"),
    "deleting what is not there": deleting("nothing"),
    "taking out": lambda state: state.pop("user"),
    "emptying": lambda state: state.clear(),
    "comparing": lambda state: (state == {"user": "a"}, state == {}),
    "taking out what is not there": lambda state: state.pop("nothing"),
    "taking out what is not there, with a default": lambda state: state.pop("nothing", 7),
    "taking out an offer": lambda state: state.pop("csp_nonce", None),
    "taking out the last": lambda state: (state.popitem(), len(state)),
    "unpacking": lambda state: {**state, "other": 1},
    "asking whether it is a dict": lambda state: isinstance(state, dict),
    "setting from what can be read once": lambda state: state.update(item for item in [("user", "b"), ("other", 1)]),
    "joining": lambda state: (state | {"other": 1}, {"user": "b"} | state),
    "joining in place": joining,
    "reading backwards": lambda state: [*reversed(state)],
    "printing": repr,
    "writing as JSON": json.dumps,
    "copying": lambda state: changed(state.copy()),
    "copying with copy": lambda state: changed(copy.copy(state)),
    "copying deeply": lambda state: changed(copy.deepcopy(state)),
    "pickling": lambda state: pickle.loads(pickle.dumps(state)),  # noqa: S301 - it is our own
    "keeping the type of a copy": lambda state: [type(made) is dict for made in (state.copy(), copy.copy(state))],
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_whatever_is_done_with_the_state_is_done_as_without_us(work: Callable[[State], object]) -> None:
    bare: State = {"user": "a"}
    expected, after = raises(work)(bare), dict(bare)
    held: State = {"user": "a"}
    seen: list[object] = []
    load(lambda request: seen.append(raises(work)(request.scope["state"])), scope=http_scope(state=held))
    assert seen == [expected]
    assert held == after, "what was set inside is seen outside, by whoever holds the dict"


def test_an_attribute_that_is_not_there_is_an_attribute_error_as_before() -> None:
    def ask(request: HTTPConnection) -> object:
        assert not hasattr(request.state, "nothing")
        return getattr(request.state, "nothing", "no")

    assert load(ask).body == b"no"


def test_middleware_that_asks_for_a_dict_finds_one_and_loses_nothing() -> None:
    """Three ways in which published middleware asks, before it puts something there."""

    def ask(request: HTTPConnection) -> object:
        scope = request.scope
        if "state" not in scope or not isinstance(scope["state"], dict):
            scope["state"] = {}
        if isinstance(scope["state"], dict):
            scope["state"]["request_id"] = "r"
        else:
            scope["state"].request_id = "r"
        assert (request.state.db, request.state.request_id) == ("pool", "r")
        return read_nonce(request)

    held = {"db": "pool"}
    sent = load(ask, scope=http_scope(state=held))
    assert nonces(sent.header(ENFORCED)) == {f"'nonce-{sent.body.decode()}'"}
    assert held == {"db": "pool", "request_id": "r"}


def test_what_is_put_into_the_dict_that_was_there_is_found() -> None:
    held: State = {"user": "a"}

    def ask(request: HTTPConnection) -> object:
        held["late"] = 1
        state = request.scope["state"]
        assert ("late" in state, state["late"], state.get("late"), state.setdefault("late", 2)) == (True, 1, 1, 1)
        return "asked"

    assert load(ask, scope=http_scope(state=held)).body == b"asked"


def test_an_offer_is_had_by_every_way_of_reading() -> None:
    def ask(request: HTTPConnection) -> object:
        state = request.scope["state"]
        return len({state["csp_nonce"], state.get("csp_nonce"), state.setdefault("csp_nonce", "other")})

    assert load(ask).body == b"1"


def test_a_scope_that_is_served_over_and_over_remembers_no_offer_of_before() -> None:
    """As some load tests do. Each time it has a nonce of its own, and nothing piles up."""
    scope = http_scope(state={"user": "a"})
    app = CSPMiddleware(CSPMiddleware(page(read_nonce)))
    bodies = {drive(app, scope).body for _ in range(2 * sys.getrecursionlimit())}
    assert len(bodies) == 2 * sys.getrecursionlimit()
    with pytest.raises(KeyError):
        scope["state"]["nothing"]


def test_an_app_without_state_gets_one() -> None:
    scope = http_scope()
    del scope["state"]
    assert load(read_nonce, scope=scope).body


def test_an_offer_is_never_listed_but_it_is_there() -> None:
    def ask(request: HTTPConnection) -> object:
        state = request.scope["state"]
        assert "csp_nonce" in state
        assert (dict(state), [*state], len(state)) == ({}, [], 0)
        return "asked"

    sent = load(ask)
    assert (sent.body, b"nonce" in (sent.header(ENFORCED) or b"")) == (b"asked", False), "to look is not to read"


def test_what_somebody_puts_there_hides_the_offer_until_it_is_taken_away() -> None:
    def ask(request: HTTPConnection) -> object:
        ours = read_nonce(request)
        request.state.csp_nonce = "theirs"
        assert request.state.csp_nonce == "theirs"
        assert dict(request.scope["state"]) == {"csp_nonce": "theirs"}
        del request.state.csp_nonce
        assert request.state.csp_nonce == ours
        with pytest.raises(KeyError):
            del request.state.csp_nonce
        return "asked"

    assert load(ask).body == b"asked"
    hidden = load(lambda request: request.state.csp_nonce, scope=http_scope(state={"csp_nonce": "outer"}))
    assert hidden.body == b"outer"


class Kept(TypedDict):
    db: str


def test_the_state_of_the_lifespan_is_there() -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[Kept]:
        yield {"db": "open"}

    async def endpoint(request: Request) -> Response:
        request.state.own = 1
        return JSONResponse([request.state.db, read_nonce(request), request.scope["state"]["own"]])

    app = CSPMiddleware(Starlette(routes=[Route("/", endpoint)], lifespan=lifespan))
    with TestClient(app) as client:
        (one, first, _), (other, second, _) = client.get("/").json(), client.get("/").json()
    assert one == other == "open"
    assert first != second


async def signing_in(request: Request, call_next: RequestResponseEndpoint) -> Response:
    request.state.user = "ann"
    response = await call_next(request)
    response.headers["x-seen"] = request.state.seen + read_nonce(request)
    return response


def test_a_middleware_in_between_shares_the_state_with_the_endpoint() -> None:
    async def endpoint(request: Request) -> Response:
        request.state.seen = f"{request.state.user} "
        return PlainTextResponse(read_nonce(request))

    inner = [Middleware(BaseHTTPMiddleware, dispatch=signing_in)] * 2
    sent = drive(CSPMiddleware(Starlette(routes=[Route("/", endpoint)], middleware=inner)), http_scope())
    assert sent.values(b"x-seen") == [b"ann " + sent.body]
    assert b"'nonce-%b'" % sent.body in (sent.header(ENFORCED) or b"")


# --- frameworks ---


@litestar.get("/")
async def litestar_page(request: litestar.Request[Any, Any, Any]) -> str:
    csp(request).add(img_src="https://cdn.example.com")  # type: ignore[arg-type]
    assert request.state.user == "ann"
    request.scope["state"]["own"] = 1
    return str(request.scope["state"]["csp_nonce"])


def quart_site() -> Quart:
    app = Quart("secguard_csp", root_path="/nonexistent")

    @app.get("/")
    async def endpoint() -> str:
        csp(quart_request).add(img_src="https://cdn.example.com")  # type: ignore[arg-type]
        state: Any = quart_request.scope["state"]
        assert state["user"] == "ann"
        return str(state["csp_nonce"])

    return app


def fastapi_site() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def endpoint(request: Request) -> Response:
        csp(request).add(img_src="https://cdn.example.com")
        assert request.state.user == "ann"
        return PlainTextResponse(read_nonce(request))

    return app


SITES: dict[str, Callable[[], Any]] = {
    "fastapi": fastapi_site,
    "litestar": lambda: litestar.Litestar([litestar_page], openapi_config=None, logging_config=None),
    "quart": quart_site,
}


@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_pages_of_every_framework_read_their_nonce_and_amend(site: Callable[[], Any]) -> None:
    sent = drive(CSPMiddleware(site()), http_scope(state={"user": "ann"}))
    assert sent.status == 200
    assert nonces(sent.header(ENFORCED)) == {f"'nonce-{sent.body.decode()}'"}
    assert "https://cdn.example.com" in only(sent.header(ENFORCED))["img-src"]
