"""Apps that serve their documentation, and what there is to see on the pages and in their policy."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import ASGIApp

from secguard import Settings, protect
from secguard.csp import CSPSettings
from secguard.fastapi import serve_docs
from secguard.policy import Profile

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
