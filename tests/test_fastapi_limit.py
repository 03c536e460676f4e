"""`Depends(limit(...))`: on routes, routers, apps and websockets, and in the OpenAPI schema."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from secguard import Guard, Settings, protect
from secguard.fastapi import RouteLimit, limit
from secguard.policy import Exchange
from tests.helpers import Clock


def client_of(app: FastAPI, **fields: Any) -> TestClient:
    protect(app, Settings(_env_file=None, rate_limit=fields))
    return TestClient(app, base_url="https://testserver", client=("192.0.2.1", 50000))


def statuses(client: TestClient, *paths: str) -> list[int]:
    return [client.get(path).status_code for path in paths]


def test_route_is_limited_and_the_refusal_is_the_guards() -> None:
    app = FastAPI()

    @app.get("/items/{id}", dependencies=[Depends(limit("2/minute"))])
    async def item(id: int) -> int:  # noqa: A002 - the path has it
        return id

    client = client_of(app, default="9/minute")
    assert statuses(client, "/items/1", "/items/2") == [200, 200]
    refused = client.get("/items/3")
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["violated-policies"] == ["/items/{id}"]
    assert refused.headers["ratelimit-policy"] == '"default";q=9;w=60, "/items/{id}";q=2;w=60'
    assert "content-security-policy" in refused.headers


def test_parameter_of_an_endpoint_limits_it_too() -> None:
    app = FastAPI()

    @app.get("/")
    def page(_: Annotated[None, Depends(limit("1/minute", name="page"))]) -> str:
        return "page"

    assert statuses(client_of(app), "/", "/") == [200, 429]


def test_routers_that_are_nested_are_limited() -> None:
    app = FastAPI()
    inner = APIRouter(prefix="/in", dependencies=[Depends(limit("1/minute"))])
    inner.get("/x")(lambda: "x")
    inner.get("/y")(lambda: "y")
    outer = APIRouter(prefix="/out")
    outer.include_router(inner)
    app.include_router(outer)
    app.get("/free")(lambda: "free")
    assert statuses(client_of(app), *["/out/in/x"] * 2, *["/out/in/y"] * 2, *["/free"] * 2) == [
        200, 429, 200, 429, 200, 200,
    ]  # fmt: skip


def test_whole_app_and_mounted_app_are_limited() -> None:
    app = FastAPI(dependencies=[Depends(limit("2/minute", name="all"))])
    app.get("/a")(lambda: "a")
    app.get("/b")(lambda: "b")
    mounted = FastAPI()
    mounted.get("/c", dependencies=[Depends(limit("1/minute"))])(lambda: "c")
    app.mount("/m", mounted)
    assert statuses(client_of(app), "/a", "/b", "/a", "/m/c", "/m/c") == [200, 200, 429, 200, 429]


def test_dependency_is_counted_once_a_request() -> None:
    app, once = FastAPI(), limit("2/minute")

    @app.get("/", dependencies=[Depends(once), Depends(once)])
    async def page() -> str:
        return "page"

    assert statuses(client_of(app), "/", "/", "/") == [200, 200, 429]


def test_endpoint_does_not_run_and_handlers_of_the_app_change_nothing() -> None:
    app, ran = FastAPI(), []

    @app.exception_handler(429)
    async def handler(request: Request, error: Exception) -> None:
        raise LookupError("a handler that fails")

    @app.get("/", dependencies=[Depends(limit("1/minute"))])
    async def page() -> None:
        ran.append(1)

    assert statuses(client_of(app), "/", "/") == [200, 429]
    assert len(ran) == 1


def test_websocket_is_limited_by_handshake_and_by_message() -> None:
    app, chat = FastAPI(), limit("2/hour", name="chat")

    @app.websocket("/ws")
    async def talk(websocket: WebSocket, _: Annotated[None, Depends(limit("2/minute"))]) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await chat.take(websocket)
            await websocket.send_text(text)

    client = client_of(app)
    with client.websocket_connect("wss://testserver/ws") as socket:
        for text in ("a", "b"):
            socket.send_text(text)
            assert socket.receive_text() == text
        socket.send_text("c")
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_text()
        assert closed.value.code == 1013
    with client.websocket_connect("wss://testserver/ws"):
        pass
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("wss://testserver/ws"):
        pass
    assert denied.value.status_code == 429


def test_failed_logins_are_counted_by_name() -> None:
    app = FastAPI()

    async def name(exchange: Exchange) -> str:
        return "login:" + exchange.headers[b"x-name"].decode()

    @app.post("/login", dependencies=[Depends(limit("2/minute", key=name, statuses=[401]))])
    async def login(request: Request) -> None:
        from fastapi import HTTPException

        if request.headers["x-password"] != "right":
            raise HTTPException(401)

    client = client_of(app)

    def attempt(name: str, password: str) -> int:
        return client.post("/login", headers={"x-name": name, "x-password": password}).status_code

    assert [attempt("ann", word) for word in ("right", "right", "right", "a", "b", "right")] == [200] * 3 + [
        401,
        401,
        429,
    ]
    assert attempt("bob", "right") == 200


# --- OpenAPI ---


def responses(client: TestClient, path: str = "/openapi.json") -> dict[str, list[str]]:
    schema = client.get(path).json()
    return {
        f"{method} {path}": sorted(operation["responses"])
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    }


def shop() -> FastAPI:
    app = FastAPI()
    router = APIRouter(prefix="/in")
    router.get("/limited", dependencies=[Depends(limit("9/minute"))])(lambda: "x")
    router.post("/free")(lambda: "y")
    app.include_router(router, prefix="/out")
    mounted = FastAPI()
    mounted.get("/limited", dependencies=[Depends(limit("9/minute"))])(lambda: "z")
    mounted.get("/free")(lambda: "z")
    app.mount("/m", mounted)
    return app


def test_schema_tells_of_the_refusal_where_a_route_has_a_limit() -> None:
    client = client_of(shop())
    assert responses(client) == {"get /out/in/limited": ["200", "429"], "post /out/in/free": ["200"]}
    assert responses(client, "/m/openapi.json") == {"get /limited": ["200", "429"], "get /free": ["200"]}
    told = client.get("/openapi.json").json()["paths"]["/out/in/limited"]["get"]["responses"]["429"]
    assert set(told) == {"description", "headers", "content"}
    assert list(told["content"]) == ["application/problem+json"]


def test_schema_tells_of_the_refusal_where_a_rule_of_the_settings_holds() -> None:
    rules = [{"paths": ["/out/in"], "methods": ["POST"], "limits": "9/minute"}]
    assert responses(client_of(shop(), rules=rules))["post /out/in/free"] == ["200", "429"]
    assert set(map(tuple, responses(client_of(shop(), default="9/minute")).values())) == {("200", "429")}
    exempt = responses(client_of(shop(), default="9/minute", exempt={"paths": ["/out/in/free"]}))
    assert exempt["post /out/in/free"] == ["200"]


def test_schema_keeps_what_the_app_says_of_its_own_refusal() -> None:
    app = FastAPI()
    app.get("/", responses={429: {"description": "Slow down!"}}, dependencies=[Depends(limit("9/minute"))])(lambda: 1)
    schema = client_of(app).get("/openapi.json").json()
    assert schema["paths"]["/"]["get"]["responses"]["429"] == {"description": "Slow down!"}


def test_schema_of_an_app_without_the_section_is_its_own() -> None:
    app = shop()
    protect(app, Settings(_env_file=None))
    assert all("429" not in held for held in responses(TestClient(app, base_url="https://testserver")).values())


def test_schema_is_told_once_however_often_the_guard_looks() -> None:
    app = FastAPI()
    app.get("/")(lambda: 1)
    guard = Guard(app, Settings(_env_file=None, rate_limit={"default": "9/minute"}))
    told = app.openapi
    guard.meet(app)
    assert app.openapi is told
    again = Guard(app, Settings(_env_file=None, rate_limit={"default": "9/minute"}))
    assert again.app is app
    assert list(app.openapi()["paths"]["/"]["get"]["responses"]) == ["200", "429"]


def test_fastapi_is_not_looked_for_where_nobody_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fastapi")
    app = FastAPI()
    Guard(app, Settings(_env_file=None, csp=None, rate_limit={"default": "9/minute"}))
    assert "429" not in str(app.openapi())


def test_limit_is_a_limit_like_any_other() -> None:
    assert isinstance(limit("5/minute"), RouteLimit)
    assert Clock().now
