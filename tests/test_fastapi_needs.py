"""What the documentation pages need of a policy, as the app's schema names it."""

from fastapi import FastAPI
from fastapi.testclient import TestClient

from secguard.fastapi.needs import of_redoc, of_swagger
from tests.fastapi_pages import guarded, policy


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
