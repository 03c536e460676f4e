"""Where the documentation of FastAPI apps is found and served."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.routing import Mount

from secguard import Settings, protect
from secguard.fastapi import serve_docs
from tests.fastapi_pages import read


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
