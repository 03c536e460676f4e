"""A shop whose documentation the browser visits, and a provider to sign in with."""

import base64
import os
import sys
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Form
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import RedirectResponse, Response
from fastapi.security import OAuth2, OAuth2AuthorizationCodeBearer
from pydantic import BaseModel

from secguard import Guard, protect

if "WITHOUT_EXTRA" in os.environ:
    sys.modules["fastapi_offline"] = None  # type: ignore[assignment]  # Python's own word for: there is no such module

PROVIDER = os.environ.get("PROVIDER", "")
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
DESCRIPTION = """
# What it sells

| left | centre | right |
|:-----|:------:|------:|
| 1    | 2      | 3     |
"""
INJECTION = "<script>document.title = 'taken'</script><img src='/none' onerror=\"document.title = 'taken'\">"


class Item(BaseModel):
    name: str = "tea"


app = FastAPI(
    title="Shop",
    description=DESCRIPTION,
    swagger_ui_init_oauth={"clientId": "docs", "usePkceWithAuthorizationCodeGrant": True},
)
app.mount("/injected", FastAPI(title="Injected", description=INJECTION))
bearer = OAuth2AuthorizationCodeBearer(authorizationUrl=f"{PROVIDER}/authorize", tokenUrl=f"{PROVIDER}/token")


@app.post("/items")
def add(item: Item) -> dict[str, str]:
    return {"added": item.name}


@app.get("/picture")
def picture() -> Response:
    return Response(base64.b64decode(DOT), media_type="image/png")


@app.get("/me")
def me(token: Annotated[str, Depends(bearer)]) -> dict[str, str]:
    return {"holds": token}


without_code = FastAPI(title="Without a code")
app.mount("/without-code", without_code)
implicit = OAuth2(flows={"implicit": {"authorizationUrl": f"{PROVIDER}/authorize", "scopes": {}}})


@without_code.get("/me")
def me_too(authorization: Annotated[str, Depends(implicit)]) -> dict[str, str]:
    return {"holds": authorization}


def protected() -> FastAPI:
    return protect(app)


def guarded() -> Guard:
    return Guard(app)


provider = FastAPI()
provider.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])


@provider.get("/authorize")
def authorize(client_id: str, redirect_uri: str, state: str, response_type: str) -> RedirectResponse:
    if response_type == "token":
        answer = {"access_token": "for-nothing", "token_type": "bearer", "state": state}
        return RedirectResponse(f"{redirect_uri}#{urlencode(answer)}")
    answers = {
        "docs": {"code": "ours", "state": state},
        "refused": {"error": "access_denied", "error_description": "No way", "state": state},
        "forged": {"code": "theirs", "state": "theirs"},
    }
    return RedirectResponse(f"{redirect_uri}?{urlencode(answers[client_id])}")


@provider.post("/token")
def token(code: Annotated[str, Form()]) -> dict[str, str]:
    return {"access_token": f"for-{code}", "token_type": "bearer"}
