"""FastAPI's documentation as pages that live under every policy, with the settings that FastAPI has for them."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient

from secguard.csp import CSPMiddleware
from secguard.fastapi import serve_docs
from secguard.policy import Profile
from tests.fastapi_pages import PAGES, Reader, guarded, policy, read

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


def test_what_a_site_says_about_elements_attributes_and_trusted_types_gives_way() -> None:
    stricter = {
        "script_src_elem": "'none'",
        "script_src_attr": "'none'",
        "style_src_elem": "'none'",
        "style_src_attr": "'none'",
        "require_trusted_types_for": ["'script'"],
        "trusted_types": ["shop"],
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
