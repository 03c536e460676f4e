"""protect(): one line for an app that goes on growing, is mounted, tested, served and instrumented as before."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import warnings
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.utils import wrap_app
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocket
from uvicorn import Config

from secguard import Guard, Settings, protect
from secguard.policy import Context, Policy
from tests.helpers import answering, attempt, drive, http_scope

CHECKED = {
    "x-frame-options": "SAMEORIGIN",
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
}


class Configured:
    """Settings, except for sinks that tell nobody."""

    def __init__(self, **sections: Any) -> None:
        self.settings = Settings(_env_file=None, **sections)

    def policies(self) -> tuple[Policy, ...]:
        return self.settings.policies(sinks=())


@pytest.fixture(params=[Starlette, FastAPI])
def app(request: pytest.FixtureRequest) -> Starlette:
    made: Starlette = request.param()
    return protect(made, Configured())


def client(app: Starlette, **options: Any) -> TestClient:
    return TestClient(app, raise_server_exceptions=False, **options)


def hardened(response: Any) -> bool:
    return all(response.headers.get_list(name) == [value] for name, value in CHECKED.items())


def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


def boom(request: Request) -> Response:
    raise LookupError("boom")


# --- the same app ---


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
def test_the_app_stays_the_same_object_of_the_same_kind(kind: type[Starlette]) -> None:
    app = kind()
    assert protect(app, Configured()) is app
    assert isinstance(app, kind)
    assert type(app).__name__ == kind.__name__


def test_everything_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECGUARD_HEADERS__FRAME_OPTIONS", "DENY")
    app = protect(Starlette(routes=[Route("/", hello)]))
    assert client(app).get("/").headers["x-frame-options"] == "DENY"


def test_a_second_protect_is_an_error(app: Starlette) -> None:
    with pytest.raises(RuntimeError, match="protected already"):
        protect(app, Configured())


def test_protect_after_the_first_request_is_an_error() -> None:
    app = Starlette()
    client(app).get("/")
    with pytest.raises(RuntimeError, match="before the first request"):
        protect(app, Configured())


def test_two_apps_share_nothing() -> None:
    one = protect(Starlette(routes=[Route("/", hello)]), Configured(headers={"frame_options": "DENY"}))
    other = protect(Starlette(routes=[Route("/", hello)]), Configured())
    bare = Starlette(routes=[Route("/", hello)])
    assert client(one).get("/").headers["x-frame-options"] == "DENY"
    assert client(other).get("/").headers["x-frame-options"] == "SAMEORIGIN"
    assert "x-frame-options" not in client(bare).get("/").headers


def test_a_protected_app_can_be_collected() -> None:
    app = protect(Starlette(), Configured())
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None


# --- what is added later ---


def test_routes_mounts_and_websockets_may_be_added_later(app: Starlette) -> None:
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    app.router.routes.append(Route("/later", hello))
    app.mount("/mounted", Starlette(routes=[Route("/", hello)]))
    app.router.add_websocket_route("/socket", socket)
    for path in ("/later", "/mounted/", "/nowhere"):
        assert hardened(client(app).get(path))
    with client(app).websocket_connect("/socket") as session:
        assert session.receive_text() == "hello"
        headers: Any = session.extra_headers
        assert (b"x-content-type-options", b"nosniff") in headers


def test_middleware_and_exception_handlers_may_be_added_later(app: Starlette) -> None:
    class Refusing(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
            return PlainTextResponse("no", 403) if request.url.path == "/no" else await call_next(request)

    def handle(request: Request, error: Exception) -> Response:
        return PlainTextResponse(f"handled {error}", 418)

    app.add_middleware(Refusing)
    app.router.routes += [Route("/boom", boom), Route("/", hello)]
    app.add_exception_handler(LookupError, handle)
    assert [client(app).get(path).status_code for path in ("/no", "/boom", "/")] == [403, 418, 200]
    assert all(hardened(client(app).get(path)) for path in ("/no", "/boom", "/"))


def test_fastapi_goes_on_being_fastapi() -> None:
    app = protect(FastAPI(), Configured())

    def who() -> str:
        return "somebody"

    @app.get("/items/{item}")
    async def item(item: int, name: str = Depends(who)) -> dict[str, Any]:
        if item == 9:
            raise HTTPException(409, "taken")
        return {"item": item, "name": name}

    app.dependency_overrides[who] = lambda: "somebody else"
    assert client(app).get("/items/1").json() == {"item": 1, "name": "somebody else"}
    assert app.url_path_for("item", item="1") == "/items/1"
    assert "/items/{item}" in app.openapi()["paths"]
    for path, status in {"/items/9": 409, "/items/x": 422, "/openapi.json": 200, "/docs": 200}.items():
        response = client(app).get(path)
        assert (response.status_code, hardened(response)) == (status, True)


# --- errors ---


def test_unhandled_errors_are_hardened_and_still_reach_the_server(app: Starlette) -> None:
    app.router.routes.append(Route("/boom", boom))
    response = client(app).get("/boom")
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert hardened(response)
    with pytest.raises(LookupError, match="boom"):
        TestClient(app).get("/boom")


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
def test_debug_pages_are_hardened(kind: type[Starlette]) -> None:
    app = protect(kind(debug=True, routes=[Route("/boom", boom)]), Configured())
    response = client(app).get("/boom", headers={"accept": "text/html"})
    assert "LookupError" in response.text
    assert hardened(response)


def test_a_middleware_that_fails_is_hardened_by_its_500() -> None:
    class Broken(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            raise LookupError("boom")

    app = protect(Starlette(middleware=[Middleware(Broken)]), Configured())
    response = client(app).get("/")
    assert (response.status_code, hardened(response)) == (500, True)


def test_a_raw_app_that_fails_is_hardened() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("boom")

    sent = attempt(Guard(broken, Configured()), http_scope())
    assert (sent.status, sent.header(b"x-content-type-options")) == (500, b"nosniff")
    assert isinstance(sent.error, LookupError)


# --- lifespan and TestClient ---


def test_lifespan_and_its_state_reach_the_app() -> None:
    life: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
        life.append("up")
        yield {"pool": "of connections"}
        life.append("down")

    def pool(request: Request) -> Response:
        return PlainTextResponse(request.state.pool)

    app = protect(Starlette(routes=[Route("/", pool)], lifespan=lifespan), Configured())
    with client(app) as session:
        assert session.get("/").text == "of connections"
        assert life == ["up"]
    assert life == ["up", "down"]


# --- mounts and root paths ---


def test_a_protected_app_in_a_protected_app_sends_each_header_once() -> None:
    inner = protect(FastAPI(), Configured(headers={"frame_options": "DENY"}))
    inner.router.routes.append(Route("/", hello))
    outer = protect(FastAPI(), Configured())
    outer.mount("/inner", inner)
    outer.mount("/raw", Guard(answering(), Configured()))
    response = client(outer).get("/inner/")
    assert response.headers.get_list("x-frame-options") == ["DENY"], "the inner app's word is kept"
    assert response.headers.get_list("x-content-type-options") == ["nosniff"]
    assert hardened(client(outer).get("/raw/"))


def test_mounts_in_the_constructor_work_too() -> None:
    app = protect(Starlette(routes=[Mount("/sub", routes=[Route("/", hello)])]), Configured())
    assert hardened(client(app).get("/sub/"))


@pytest.mark.parametrize("path", ["/api/hello", "/hello"])
def test_the_root_path_of_fastapi_is_known_to_the_guard(path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer ones advise against it
        app = FastAPI(root_path="/api")
    rules = [{"paths": ["/hello"], "frame_options": "DENY"}]
    protect(app, Configured(headers={"rules": rules})).router.routes.append(Route("/hello", hello))
    response = client(app).get(path)
    assert (response.status_code, response.headers["x-frame-options"]) == (200, "DENY")


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
def test_the_root_path_of_the_server_is_known_to_the_guard(kind: type[Starlette]) -> None:
    rules = [{"paths": ["/hello"], "frame_options": "DENY"}]
    app = protect(kind(routes=[Route("/hello", hello)]), Configured(headers={"rules": rules}))
    response = client(app, root_path="/api").get("/hello")
    assert (response.status_code, response.headers["x-frame-options"]) == (200, "DENY")


# --- servers ---


def test_servers_see_an_asgi_3_app(app: Starlette) -> None:
    config = Config(app)
    config.load()
    assert config.interface == "asgi3"
    assert isinstance(wrap_app(app, 1, None), ASGIWrapper)  # type: ignore[arg-type]
    guard = Guard(answering(), policies=[])
    config = Config(guard)
    config.load()
    assert config.interface == "asgi3"
    assert isinstance(wrap_app(guard, 1, None), ASGIWrapper)  # type: ignore[arg-type]


def test_policies_are_made_once_for_an_app() -> None:
    class Counting:
        made = 0

        def policies(self) -> list[Policy]:
            self.made += 1
            return [Policy(Context())]

    counting = Counting()
    app = protect(Starlette(), counting)
    for _ in range(3):
        drive(app, http_scope())
    assert counting.made == 1


@pytest.mark.parametrize("outer", [Starlette, FastAPI])
def test_the_documentation_of_fastapi_works_wherever_and_whenever_it_is_mounted(outer: type[Starlette]) -> None:
    app = protect(outer(), Settings(environment="development"))
    app.mount("/api", FastAPI())
    with TestClient(app) as client:
        page = client.get("/api/docs")
    assert page.status_code == 200
    (nonce, *_) = re.findall(r'nonce="(\w+)"', page.text)
    assert f"'nonce-{nonce}'" in page.headers["content-security-policy"]


def test_without_a_policy_the_documentation_of_fastapi_stays_its_own() -> None:
    app = protect(FastAPI(), Settings(environment="development", csp=None))
    assert "<script>" in TestClient(app).get("/docs").text


def test_an_app_without_fastapi_does_not_import_it() -> None:
    code = (
        "import sys; from starlette.applications import Starlette; from starlette.testclient import TestClient; "
        "from secguard import protect; TestClient(protect(Starlette())).get('/'); print('fastapi' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def test_an_app_that_knows_no_fastapi_has_no_documentation_to_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fastapi")
    app = protect(Starlette(), Settings(environment="development"))
    assert "content-security-policy" in TestClient(app).get("/").headers
