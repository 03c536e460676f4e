"""What FastAPI apps get besides: the nonce and the token as dependencies."""

import secrets
from typing import get_args

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient

from secguard import Settings, protect
from secguard.fastapi import CSPNonce, CSRFToken
from tests.fastapi_pages import policy
from tests.helpers import drive, websocket_scope


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


def test_nonce_and_token_are_texts_to_type_checkers() -> None:
    assert get_args(CSPNonce)[0] is str
    assert get_args(CSRFToken)[0] is str


def token_app() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def page(token: CSRFToken) -> HTMLResponse:
        return HTMLResponse(token)

    @app.post("/account")
    async def change() -> str:
        return "changed"

    return app


def test_token_is_one_that_the_policy_accepts() -> None:
    settings = Settings(
        environment="development", secret_keys=[secrets.token_urlsafe(32)], csrf={"token": {"paths": ["/account"]}}
    )
    client = TestClient(protect(token_app(), settings))
    answer = client.get("/")
    assert answer.headers["cache-control"] == "no-store"
    assert client.post("/account", headers={"X-CSRF-Token": answer.text}).json() == "changed"
    assert client.post("/account").status_code == 403


def test_token_without_a_policy_is_an_error_that_names_the_remedy() -> None:
    app = protect(token_app(), Settings(environment="development"))
    with pytest.raises(RuntimeError, match="SECGUARD_CSRF__TOKEN__PATHS"):
        TestClient(app).get("/")
