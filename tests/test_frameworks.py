"""Path rules in front of real frameworks: what is refused is never reached, what is exempt is what is routed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from tests.bypasses import PATHS
from tests.frameworks import EXEMPTING, REFUSING, SITES, SOCKETS
from tests.helpers import Scope, http_scope, serve, websocket_scope

# How servers tell of a root path: uvicorn puts it in front of the path, others leave the path alone.
SERVERS: Final[dict[str, tuple[str, str]]] = {
    "no root path": ("", ""),
    "a root path in front of the path": ("/api", "/api"),
    "a root path beside the path": ("/api", ""),
    "a root path with a slash": ("/api/", ""),
}


def scope_of(target: str, root_path: str, front: str, *, websocket: bool = False) -> Scope:
    """What servers make of a request target."""
    raw, _, query = target.partition("?")
    path = front + unquote(raw)
    make: Any = websocket_scope if websocket else http_scope
    scope: Scope = make(path, root_path=root_path, raw_path=(front + raw).encode(), query_string=query.encode())
    return scope


async def reached(app: ASGIApp, scope: Scope) -> str | None:
    """Which page was reached, if any."""
    incoming = [{"type": "websocket.connect"}] if scope["type"] == "websocket" else []
    sent = await serve(app, scope, incoming)
    if not sent.starts:
        return None
    told = sent.values(b"x-reached") or [sent.body]
    return told[0].removeprefix(b"reached ").decode("latin-1") if sent.status in {101, 200} else None


def reached_by(app: ASGIApp, scopes: Iterable[tuple[str, Scope]]) -> dict[str, str]:
    async def all_of_them() -> dict[str, str]:
        found = [(target, await reached(app, scope)) for target, scope in scopes]
        return {target: page for target, page in found if page}

    return asyncio.run(all_of_them())


def attempts(server: str, *, websocket: bool = False) -> list[tuple[str, Scope]]:
    return [(target, scope_of(target, *SERVERS[server], websocket=websocket)) for target in PATHS]


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("site", SITES)
def test_a_refused_page_is_never_reached(site: str, server: str) -> None:
    pages = reached_by(REFUSING[site], attempts(server))
    assert {target: page for target, page in pages.items() if page == "admin"} == {}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("site", SITES)
def test_only_an_exempt_page_is_ever_reached(site: str, server: str) -> None:
    pages = reached_by(EXEMPTING[site], attempts(server))
    assert {target: page for target, page in pages.items() if page != "hook"} == {}


@pytest.mark.parametrize("site", SOCKETS)
def test_a_refused_websocket_is_never_reached(site: str) -> None:
    for server in SERVERS:
        pages = reached_by(REFUSING[site], attempts(server, websocket=True))
        assert {target: page for target, page in pages.items() if page == "admin"} == {}, server


@pytest.mark.parametrize("site", SITES)
def test_a_guard_inside_a_mount_sees_through_it(site: str) -> None:
    app = Starlette(
        routes=[Mount("/api", REFUSING[site]), Mount("/v1", Starlette(routes=[Mount("/er", REFUSING[site])]))]
    )
    for server in SERVERS.values():
        for mount in ("", "/api", "/v1/er", "/v1"):
            pages = reached_by(app, [(target, scope_of(mount + target, *server)) for target in PATHS])
            assert "admin" not in pages.values(), (server, mount)
    assert reached_by(app, [("", scope_of("/api/public", "", ""))]) == {"": "public"}


@pytest.mark.parametrize("site", SITES)
def test_the_corpus_finds_its_way_where_nobody_refuses(site: str) -> None:
    pages = reached_by(SITES[site], attempts("no root path"))
    assert pages["/admin/x"] == "admin"
    assert "/administrator" not in pages
    if site in SOCKETS:
        sockets = reached_by(SITES[site], attempts("no root path", websocket=True))
        assert sockets["/admin/x"] == "admin"


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("server", ["no root path", "a root path in front of the path"])
def test_what_is_neither_refused_nor_hostile_is_reached(site: str, server: str) -> None:
    paths = ["/public", "/public/x", "/hook", "/hook/admin", "/public/administrator"]
    scopes = [(path, scope_of(path, *SERVERS[server])) for path in paths]
    assert set(reached_by(REFUSING[site], scopes)) == set(paths)
    assert set(reached_by(EXEMPTING[site], [(path, scope_of(path, *SERVERS[server])) for path in paths])) == {
        "/hook",
        "/hook/admin",
    }


# --- what nobody has thought of ---

_segments = st.sampled_from(
    """admin admin api public hook x . .. %2e %2e%2e ; ..; %00 %ff admin; Admin apiadmin %61dmin admin%20 admin%0a %252e
    admin\uff0fx http: hook;""".split()
)
_slashes = st.sampled_from(("/", "/", "/", "/", "//", "%2f", "\\", "%5c", "%252f", "/./", "/../"))
_targets = st.lists(st.tuples(_slashes, _segments), min_size=1, max_size=5).map(
    lambda parts: "".join(slash + segment for slash, segment in parts)
)


@pytest.mark.parametrize("site", SITES)
def test_no_mixture_of_tricks_reaches_a_refused_page(site: str) -> None:
    runner = asyncio.Runner()

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(target=_targets, server=st.sampled_from(list(SERVERS.values())))
    def check(target: str, server: tuple[str, str]) -> None:
        assert runner.run(reached(REFUSING[site], scope_of(target, *server))) != "admin"
        assert runner.run(reached(EXEMPTING[site], scope_of(target, *server))) in {"hook", None}

    with runner:
        check()
