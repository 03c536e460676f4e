"""The nonce as a dependency, and FastAPI's documentation as pages that live under every policy."""

import json
import re
import sys
from base64 import b64encode
from hashlib import sha384
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.responses import HTMLResponse, PlainTextResponse
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from secguard import Settings, protect
from secguard.csp import CSPMiddleware, CSPSettings
from secguard.fastapi import CSPNonce, serve_docs
from secguard.fastapi.assets import CDN
from secguard.fastapi.needs import of_redoc, of_swagger
from secguard.policy import Profile
from tests.helpers import drive, websocket_scope

PAGES = ["/docs", "/docs/oauth2-redirect", "/redoc"]


class Reader(HTMLParser):
    """The elements of a page that load something, its title, and the JSON in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[dict[str, str]] = []
        self.texts = {"title": "", "script": "", "noscript": "", "p": ""}
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        assert not any(name == "style" or name.startswith("on") for name in named)
        assert tag != "style"
        if "src" in named or named.get("rel") == "stylesheet":
            self.loads.append(named)
        elif tag == "script":
            assert named["type"] == "application/json"
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in self.texts:
            self.texts[self._inside] += data

    @property
    def addresses(self) -> list[str]:
        return [named.get("src") or named["href"] for named in self.loads]

    @property
    def settings(self) -> Any:
        return json.loads(self.texts["script"])


def read(app: ASGIApp, path: str, **client: Any) -> Reader:
    answer = TestClient(app, **client).get(path)
    assert answer.status_code == 200
    return Reader(answer.text)


def guarded(app: FastAPI, profile: Profile = "web", **csp: Any) -> FastAPI:
    protect(app, Settings(profile=profile, csp=CSPSettings(**csp), environment="development"))
    serve_docs(app)
    return app


def policy(answer: Any) -> dict[str, list[str]]:
    parts = (part.split() for part in answer.headers["content-security-policy"].split(";"))
    return {name: sources for name, *sources in parts}


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi_offline", None)  # Python's own word for: there is no such module


# The nonce


def nonce_app() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def page(nonce: CSPNonce) -> HTMLResponse:
        return HTMLResponse(nonce)

    @app.websocket("/ws")
    async def talk(websocket: WebSocket, nonce: CSPNonce) -> None:
        await websocket.accept(headers=[(b"x-nonce", nonce.encode())])

    return app


def test_nonce_is_the_one_that_the_header_names() -> None:
    answer = TestClient(protect(nonce_app(), Settings(environment="development"))).get("/")
    assert f"'nonce-{answer.text}'" in policy(answer)["script-src"]
    assert answer.headers["cache-control"] == "no-store"


def test_nonce_is_there_for_websockets() -> None:
    app = protect(nonce_app(), Settings(environment="development"))
    sent = drive(app, websocket_scope("/ws", host=b"testserver"))
    nonce = sent.header(b"x-nonce")
    assert nonce
    assert b"'nonce-%b'" % nonce in (sent.header(b"content-security-policy") or b"")


def test_nonce_without_a_policy_is_an_error_that_names_the_remedy() -> None:
    app = protect(nonce_app(), Settings(csp=None, environment="development"))
    with pytest.raises(RuntimeError, match="SECGUARD_CSP"):
        TestClient(app).get("/")


def test_nonce_is_a_text_to_type_checkers() -> None:
    assert get_args(CSPNonce)[0] is str


# The pages and their policy


@pytest.mark.parametrize("profile", ["web", "strict", "api"])
@pytest.mark.parametrize("path", PAGES)
def test_page_lives_by_its_nonce_alone(path: str, profile: Profile) -> None:
    answer = TestClient(guarded(FastAPI(), profile)).get(path)
    sent = policy(answer)
    nonce = sent["script-src"][0].removeprefix("'nonce-").removesuffix("'")
    assert sent["script-src"] == sent["style-src"] == [f"'nonce-{nonce}'"]
    assert "unsafe-inline" not in answer.headers["content-security-policy"]
    assert "http" not in answer.headers["content-security-policy"]
    loads = Reader(answer.text).loads
    assert loads
    assert {named["nonce"] for named in loads} == {nonce}
    assert {named["crossorigin"] for named in loads} == {"anonymous"}
    assert all(named["integrity"].startswith("sha384-") for named in loads)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("profile", ["web", "strict", "api"])
def test_page_needs_no_more_than_this(profile: Profile) -> None:
    client = TestClient(guarded(FastAPI(), profile))
    swagger, redirect, redoc = (policy(client.get(path)) for path in PAGES)
    assert set(swagger["connect-src"]) == set(redoc["connect-src"]) == {"'self'"}
    assert set(swagger["img-src"]) == {"'self'", "data:", "blob:"}
    assert set(redoc["img-src"]) == {"'self'", "data:"} | ({"blob:"} if profile == "web" else set())
    assert set(redoc["worker-src"]) == {"blob:"} | ({"'self'"} if profile == "web" else set())
    assert swagger["style-src-attr"][0] == "'unsafe-hashes'"
    assert all(source.startswith("'sha256-") for source in swagger["style-src-attr"][1:])
    if profile == "api":
        kept = {"default-src", "object-src", "base-uri", "form-action", "frame-ancestors"}
        assert set(redirect) - kept == {"script-src", "style-src", "img-src"}
        assert all(redirect[name] == ["'none'"] for name in kept)


def test_what_a_site_says_about_elements_and_attributes_gives_way() -> None:
    stricter = {
        "script_src_elem": "'none'",
        "script_src_attr": "'none'",
        "style_src_elem": "'none'",
        "style_src_attr": "'none'",
        "require_trusted_types_for": ["'script'"],
        "img_src": "https://img.example.com",
    }
    sent = policy(TestClient(guarded(FastAPI(), directives=stricter)).get("/redoc"))
    assert not {name.replace("_", "-") for name in stricter} - {"img-src"} & sent.keys()
    assert sent["img-src"] == ["https://img.example.com", "'self'", "data:"]


def test_rehearsed_policy_is_fitted_too() -> None:
    answer = TestClient(guarded(FastAPI(), rollout="report")).get("/docs")
    rehearsed = answer.headers["content-security-policy-report-only"]
    assert rehearsed.split("script-src ")[1].partition(";")[0] == policy(answer)["script-src"][0]


def test_pages_work_without_a_policy() -> None:
    app = FastAPI()
    serve_docs(app)
    for path in PAGES:
        answer = TestClient(app).get(path)
        assert "content-security-policy" not in answer.headers
        assert "nonce" not in answer.text
        assert Reader(answer.text).loads


def test_pages_find_a_policy_that_stands_alone() -> None:
    app = FastAPI()
    serve_docs(app)
    app.add_middleware(CSPMiddleware, profile="strict")
    answer = TestClient(app).get("/redoc")
    assert policy(answer)["script-src"] == [f"'nonce-{Reader(answer.text).loads[0]['nonce']}'"]


# What the schema names


def test_servers_and_token_endpoints_may_be_talked_to() -> None:
    flows = {
        "authorizationCode": {"authorizationUrl": "https://login.example", "tokenUrl": "https://token.example/t?a=b"},
        "password": {"tokenUrl": "/token", "refreshUrl": "https://refresh.example:8443/"},
    }
    schema = {
        "servers": [
            {"url": "/api"},
            {"url": "https://one.example/v1"},
            {"url": "https://{region}.example", "variables": {"region": {"default": "eu", "enum": ["eu", "us"]}}},
            {"url": "https://user:secret@two.example"},
            {"url": "https://[2001:db8::1]/"},
            {"url": "https://three.example; script-src *"},
            {"url": "HTTPS://ONE.example"},
        ],
        "paths": {
            "/": {
                "summary": "no operation",
                "servers": [{"url": "https://path.example"}],
                "get": {"servers": [{"url": "https://operation.example"}, {"url": "https://one.example/v2"}]},
            }
        },
        "components": {
            "securitySchemes": {
                "oauth": {"type": "oauth2", "flows": flows},
                "openid": {"type": "openIdConnect", "openIdConnectUrl": "https://openid.example/.well-known/x"},
                "key": {"type": "apiKey"},
            }
        },
    }
    named = """https://one.example https://eu.example HTTPS://ONE.example https://path.example
        https://operation.example https://token.example https://refresh.example:8443 https://openid.example"""
    assert of_swagger(schema)["connect_src"] == ["'self'", *named.split()]
    assert of_swagger(schema)["media_src"] == ["'self'", *named.split()]
    app = FastAPI()
    app.openapi = lambda: {"info": {}, **schema}  # type: ignore[method-assign]
    assert policy(TestClient(guarded(app)).get("/docs"))["connect-src"] == ["'self'", *named.split()]


def test_logo_of_the_app_may_be_shown() -> None:
    schema = {"info": {"x-logo": {"url": "https://static.example.com/logo.png"}}}
    assert of_redoc(schema)["img_src"] == ["'self'", "data:", "https://static.example.com"]
    assert of_redoc({"info": {"x-logo": {"url": "/logo.png"}}})["img_src"] == ["'self'", "data:"]


# What FastAPI lets an app set


def test_settings_are_those_of_fastapi() -> None:
    app = FastAPI(
        title="Shop",
        openapi_url="/schema.json",
        swagger_ui_parameters={"deepLinking": False, "tagsSorter": "alpha"},
        swagger_ui_init_oauth={"clientId": "docs"},
    )
    page = read(guarded(app), "/docs")
    assert page.texts["title"] == "Shop - Swagger UI"
    assert page.settings == {
        "parameters": {
            "url": "/schema.json",
            "dom_id": "#swagger-ui",
            "layout": "BaseLayout",
            "deepLinking": False,
            "showExtensions": True,
            "showCommonExtensions": True,
            "tagsSorter": "alpha",
        },
        "redirect": "/docs/oauth2-redirect",
        "oauth": {"clientId": "docs"},
    }
    assert read(app, "/redoc").settings == {"url": "/schema.json"}


def test_nothing_breaks_out_of_the_page() -> None:
    nasty = "</title></script><!--<script>alert(1)</script>\u2028&quot;\"'"
    app = guarded(FastAPI(title=nasty, swagger_ui_parameters={nasty: nasty}))
    page = read(app, "/docs")
    assert page.texts["title"] == f"{nasty} - Swagger UI"
    assert page.settings["parameters"][nasty] == nasty
    assert "alert" not in "".join(page.addresses)
    hostile = read(app, "/docs", root_path='/"><script>alert(1)</script>')
    assert len(hostile.loads) == len(page.loads)


@pytest.mark.parametrize(
    ("options", "served", "missing"),
    [
        ({"docs_url": None}, ["/redoc"], ["/docs", "/docs/oauth2-redirect"]),
        ({"redoc_url": None}, ["/docs", "/docs/oauth2-redirect"], ["/redoc"]),
        ({"swagger_ui_oauth2_redirect_url": None}, ["/docs", "/redoc"], ["/docs/oauth2-redirect"]),
        ({"openapi_url": None}, [], PAGES),
        ({"docs_url": "/", "redoc_url": "/help/"}, ["/", "/help/"], ["/docs", "/redoc"]),
    ],
)
def test_pages_stand_where_the_app_wants_them(options: dict[str, Any], served: list[str], missing: list[str]) -> None:
    app = guarded(FastAPI(**options))
    client = TestClient(app)
    for path in served:
        for address in read(app, path).addresses:
            assert client.get(address).status_code == 200
    assert [client.get(path).status_code for path in missing] == [404] * len(missing)


def test_no_redirect_page_no_sign_in() -> None:
    app = guarded(FastAPI(swagger_ui_oauth2_redirect_url=None))
    assert read(app, "/docs").settings["redirect"] is None


@pytest.mark.parametrize(("of_the_app", "of_the_server"), [("/api", ""), ("", "/api"), ("", "/api/")])
def test_root_path_stands_before_every_address(of_the_app: str, of_the_server: str) -> None:
    app = guarded(FastAPI())
    app.root_path = of_the_app
    page = read(app, "/docs", root_path=of_the_server)
    assert all(address.startswith("/api/docs/assets/") for address in page.addresses)
    assert page.settings["parameters"]["url"] == "/api/openapi.json"
    assert page.settings["redirect"] == "/api/docs/oauth2-redirect"


def mounted(outer: Starlette) -> Starlette:
    outer.router.routes.append(Mount("/shop", FastAPI(title="Inner")))
    protect(outer, Settings(environment="development"))
    serve_docs(outer)
    return outer


@pytest.mark.parametrize("outer", [FastAPI, Starlette])
def test_mounted_app_has_pages_of_its_own(outer: type[Starlette]) -> None:
    app = mounted(outer())
    page = read(app, "/shop/docs")
    assert page.texts["title"] == "Inner - Swagger UI"
    assert page.loads[0]["nonce"]
    client = TestClient(app)
    assert [client.get(address).status_code for address in page.addresses] == [200, 200, 200]


def test_routes_of_the_app_are_left_alone() -> None:
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.get("/docs", include_in_schema=False)
    def swagger_ui_html() -> PlainTextResponse:
        return PlainTextResponse("mine")

    guarded(app)
    assert TestClient(app).get("/docs").text == "mine"


def test_names_of_the_routes_and_the_schema_stay() -> None:
    plain, served = FastAPI(), guarded(FastAPI())
    for name in ("swagger_ui_html", "swagger_ui_redirect", "redoc_html"):
        assert served.url_path_for(name) == plain.url_path_for(name)
    assert served.openapi() == plain.openapi()


def test_second_call_changes_nothing() -> None:
    app = guarded(FastAPI())
    routes = list(app.routes)
    serve_docs(app)
    assert app.routes == routes


# The scripts and stylesheets


def test_assets_come_from_the_same_origin_and_never_change() -> None:
    app = guarded(FastAPI(), "strict")
    client = TestClient(app)
    kinds = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
    loads = [named for path in PAGES for named in read(app, path).loads]
    assert len(loads) == 6
    for named in loads:
        address = named.get("src") or named["href"]
        assert address.startswith("/")
        answer = client.get(address)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == kinds[Path(address).suffix]
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert named["integrity"] == integrity(answer.content)
        assert "nonce" not in answer.headers["content-security-policy"]
        assert client.head(address).status_code == 200
        other = re.sub(r"-[0-9a-f]{16}\.", "-0123456789abcdef.", address)
        assert client.get(other).status_code == 404


def integrity(content: bytes) -> str:
    return f"sha384-{b64encode(sha384(content).digest()).decode()}"


def installed() -> Path:
    spec = find_spec("fastapi_offline")
    assert spec
    assert spec.origin
    return Path(spec.origin).parent / "static"


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_the_cdn_serves_what_is_pinned() -> None:
    app = guarded(FastAPI())
    loads = {address: named for path in PAGES for named in read(app, path).loads for address in read_address(named)}
    there = {address: named for address, named in loads.items() if address.startswith(CDN)}
    assert sorted(address.rpartition("/")[2] for address in there) == [
        "redoc.standalone.js",
        "swagger-ui-bundle.js",
        "swagger-ui.css",
    ]
    assert all(re.search(r"@\d+\.\d+\.\d+/", address) for address in there)
    assert all(named["nonce"] for named in loads.values())
    assert all(CDN not in TestClient(app).get(path).headers["content-security-policy"] for path in PAGES)
    ours = loads.keys() - there.keys()
    assert [TestClient(app).get(address).status_code for address in ours] == [200] * 3


def read_address(named: dict[str, str]) -> list[str]:
    return [named.get("src") or named["href"]]


def test_extra_installs_the_very_bytes_that_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {path.name: integrity(path.read_bytes()) for path in installed().iterdir()}
    monkeypatch.setitem(sys.modules, "fastapi_offline", None)
    app = guarded(FastAPI())
    for named in [named for path in ("/docs", "/redoc") for named in read(app, path).loads]:
        (address,) = read_address(named)
        if address.startswith(CDN):
            assert named["integrity"] == files[address.rpartition("/")[2]]


def test_another_version_is_served_with_its_own_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    static = tmp_path / "fastapi_offline" / "static"
    static.mkdir(parents=True)
    static.parent.joinpath("__init__.py").write_text("raise RuntimeError('no code of it runs')")
    static.joinpath("swagger-ui-bundle.js").write_text("window.another = true")
    monkeypatch.delitem(sys.modules, "fastapi_offline", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    app = guarded(FastAPI())
    _, bundle, stylesheet = read(app, "/docs").loads
    assert bundle["integrity"] == integrity(b"window.another = true")
    assert TestClient(app).get(bundle["src"]).text == "window.another = true"
    assert stylesheet["href"].startswith(CDN)  # it does not have that one
