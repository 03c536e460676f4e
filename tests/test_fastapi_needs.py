"""What the documentation pages need of a policy, as the app's schema names it."""

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from secguard.fastapi.needs import of_redoc, of_swagger
from tests.fastapi_pages import PAGES, guarded, policy, read


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
    assert of_swagger(schema, "https")["connect_src"] == ["'self'", *named.split()]
    assert of_swagger(schema, "https")["media_src"] == ["'self'", *named.split()]
    app = FastAPI()
    app.openapi = lambda: {"info": {}, **schema}  # type: ignore[method-assign]
    assert policy(TestClient(guarded(app)).get("/docs"))["connect-src"] == ["'self'", *named.split()]


def test_logo_of_the_app_may_be_shown() -> None:
    schema = {"info": {"x-logo": {"url": "https://static.example.com/logo.png"}}}
    assert of_redoc(schema, "https")["img_src"] == ["'self'", "data:", "https://static.example.com"]
    assert of_redoc({"info": {"x-logo": {"url": "/logo.png"}}}, "https")["img_src"] == ["'self'", "data:"]


@pytest.mark.parametrize(
    ("address", "origins"),
    [
        ("https://one.example:65535/v1", ["https://one.example:65535"]),
        ("https://one.example:65536/v1", []),
        ("https://one.example:99999", []),
        ("https://one.example?to=/", ["https://one.example"]),
        ("https://one.example#to", ["https://one.example"]),
        ("https://one.example\n", []),

        ("//two.example/v1", ["https://two.example"]),
        ("//two.example:8443", ["https://two.example:8443"]),
        ("//localhost", ["https://localhost"]),
        ("//self", ["https://self"]),
        ("//'self'", []),
        ("/v1", []),
        ("///v1", []),
        ("v1", []),
        ("", []),

        ("http://my_api:8000", []),
        ("https://*.example", []),
        ("https://*", []),
        ("https://café.example", []),
        ("https://\u017f.example", []),
        ("ftp://one.example", []),
        ("javascript://one.example", []),

        ("https://{region}.example:{port}/{version}", ["https://eu.example:8443"]),
        ("https://{unknown}.example", []),
        ("https://{undecided}.example", []),
        ("https://one.example/{unknown}", ["https://one.example"]),
    ],
)  # fmt: skip
def test_address_of_a_server_is_named_where_a_source_can_name_it(address: str, origins: list[str]) -> None:
    variables = {"region": {"default": "eu"}, "port": {"default": 8443}, "undecided": {"enum": ["eu"]}}
    schema = {"servers": [{"url": address, "variables": variables}]}
    assert of_swagger(schema, "https")["connect_src"] == ["'self'", *origins]


def test_address_without_a_scheme_has_that_of_the_page() -> None:
    app = FastAPI(servers=[{"url": "//api.example.com/v1"}])
    guarded(app)
    for scheme in ("http", "https"):
        answer = TestClient(app, base_url=f"{scheme}://testserver").get("/docs")
        assert policy(answer)["connect-src"] == ["'self'", f"{scheme}://api.example.com"]


ODD: dict[str, Any] = {
    "nothing": None,
    "a text": "openapi",
    "a list": [{"servers": []}],
    "an extension among the paths": {"paths": {"x-foo": "bar"}},
    "an extension with servers": {"paths": {"x-foo": {"servers": "bar", "get": ["servers"]}}},
    "no paths": {"paths": None},
    "no path": {"paths": {"/": None}},
    "no operation": {"paths": {"/": {"get": None}}},
    "no servers": {"servers": None},
    "servers by name": {"servers": "one"},
    "server without an address": {"servers": [{"description": "one"}, None, "two", {"url": None}, {"url": ["three"]}]},
    "variable without a default": {"servers": [{"url": "https://{one}.example", "variables": {"one": {}}}]},
    "variables in a list": {"servers": [{"url": "https://{one}.example", "variables": ["one"]}]},
    "no components": {"components": None},
    "no security schemes": {"components": {"securitySchemes": None}},
    "no security scheme": {"components": {"securitySchemes": {"oauth": None}}},
    "no flows": {"components": {"securitySchemes": {"oauth": {"flows": None}}}},
    "no flow": {"components": {"securitySchemes": {"oauth": {"flows": {"password": None}}}}},
    "no token endpoint": {"components": {"securitySchemes": {"oauth": {"flows": {"password": {"tokenUrl": None}}}}}},
    "no info": {"info": None},
    "a logo that is a text": {"info": {"x-logo": "https://static.example.com/logo.png"}},
    "a logo without an address": {"info": {"x-logo": {"url": None}}},
}


@pytest.mark.parametrize("schema", ODD.values(), ids=ODD)
def test_schema_that_is_none_names_nothing(schema: Any) -> None:
    assert of_swagger(schema, "https") == of_swagger({}, "https")
    assert of_redoc(schema, "https") == of_redoc({}, "https")


def test_odd_parts_of_a_schema_hide_no_others() -> None:
    paths = {"x-foo": "bar", "/": {"get": {"servers": [None, {"url": "https://one.example"}]}}}
    schema = {"servers": ({}, {"url": "https://two.example"}), "paths": paths, "components": []}
    assert of_swagger(schema, "https")["connect_src"] == ["'self'", "https://two.example", "https://one.example"]


def test_schema_that_cannot_be_made_is_left_to_the_page_to_tell() -> None:
    class Broken(FastAPI):
        def openapi(self) -> dict[str, Any]:
            raise LookupError("no schema")

    app = guarded(Broken())
    assert all(read(app, path).loads for path in PAGES)
    assert policy(TestClient(app).get("/docs"))["connect-src"] == ["'self'"]
    with pytest.raises(LookupError, match="no schema"):
        TestClient(app).get("/openapi.json")
