"""What FastAPI apps get besides: the nonce as a dependency."""

from typing import get_args

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient

from secguard import Settings, protect
from secguard.fastapi import CSPNonce
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


def test_nonce_is_a_text_to_type_checkers() -> None:
    assert get_args(CSPNonce)[0] is str
