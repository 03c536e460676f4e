"""Deployments over real sockets: uvicorn on loopback, and a client that writes the headers a proxy would write."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from secguard.guard import Guard
from secguard.hosts import HostsPolicy, HostsSettings
from secguard.https import HttpsPolicy, HttpsSettings
from secguard.policy import Context, Exchange
from secguard.proxies import ProxiesSettings
from tests.helpers import EventLog

PATIENCE = 10.0
LOOPBACK = "127.0.0.1"
HERE = {"trusted": [LOOPBACK, "10.0.0.0/8"], "proto": "x-forwarded-proto", "host": "x-forwarded-host"}
HERE_FORWARDED = {"trusted": [LOOPBACK, "10.0.0.0/8"], "header": "forwarded", "proto": "forwarded", "host": "forwarded"}
UNIX = {"trusted": ["unix"], "proto": "x-forwarded-proto"}


def report(request: Request) -> JSONResponse:
    seen: Exchange = request.scope["secguard"]
    return JSONResponse([str(seen.client), seen.secure, str(seen.host)])


def guarded(section: dict[str, Any], log: EventLog) -> Guard:
    bare = Context(sinks=(log,))
    context = Context(sinks=(log,), resolver=ProxiesSettings(**section).resolver(bare.notice))
    allowed = HostsSettings(allowed=["app.test"])
    policies = [HostsPolicy(allowed, context), HttpsPolicy(HttpsSettings(), context)]
    return Guard(Starlette(routes=[Route("/", report)]), policies=policies)


@contextmanager
def serving(app: Guard, listener: socket.socket, **options: Any) -> Iterator[None]:
    """Serve the app on a socket that is bound already, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", **options))
    thread = threading.Thread(target=server.run, args=([listener],))
    listener.listen()
    thread.start()
    try:
        deadline = time.monotonic() + PATIENCE
        while not server.started and time.monotonic() < deadline:
            thread.join(0.005)
        assert server.started
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()


def ask_over_tcp(section: dict[str, Any], headers: Any, log: EventLog, **options: Any) -> httpx.Response:
    listener = socket.socket()
    listener.bind((LOOPBACK, 0))
    port = listener.getsockname()[1]
    with serving(guarded(section, log), listener, **options), httpx.Client(trust_env=False) as client:
        return client.get(f"http://{LOOPBACK}:{port}/", headers=[("host", "app.test"), *headers])


def ask_over_unix(folder: Path, section: dict[str, Any], headers: Any, log: EventLog, **options: Any) -> httpx.Response:
    path = str(folder / "app.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    transport = httpx.HTTPTransport(uds=path)
    with serving(guarded(section, log), listener, **options), httpx.Client(transport=transport) as client:
        return client.get("http://app.test/", headers=headers)


FOR = ("x-forwarded-for", "6.6.6.6, 203.0.113.9")
HTTPS = ("x-forwarded-proto", "https")
HTTP = ("x-forwarded-proto", "http")
CHAIN = ("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.0.0.2")
ELEMENT = ("forwarded", 'for=6.6.6.6, for="203.0.113.9:4711";proto=https;host=app.test')
UNPROVEN, REWRITTEN = "https.unproven", "proxies.rewritten"

TABLE: dict[str, tuple[dict[str, Any], list[tuple[str, str]], dict[str, Any], str, bool, list[str]]] = {
    # section, request headers, uvicorn's options -> client, secure, codes of the events
    "direct": ({}, [], {}, LOOPBACK, False, [UNPROVEN]),
    "direct, and the client forges": ({}, [FOR, HTTPS, ELEMENT], {"proxy_headers": False}, LOOPBACK, False, [UNPROVEN]),
    "direct, and uvicorn lets the client forge": ({}, [FOR, HTTPS], {}, "203.0.113.9", True, []),
    "one proxy": (HERE, [FOR, HTTPS], {"proxy_headers": False}, "203.0.113.9", True, []),
    "one proxy that appends lines": (
        HERE,
        [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.9"), HTTPS],
        {"proxy_headers": False},
        "203.0.113.9",
        True,
        [],
    ),
    "chain": (HERE, [CHAIN, HTTPS], {"proxy_headers": False}, "203.0.113.9", True, []),
    "one proxy, Forwarded": (HERE_FORWARDED, [ELEMENT, FOR], {"proxy_headers": False}, "203.0.113.9", True, []),
    "one proxy that uvicorn has no word about": (HERE_FORWARDED, [ELEMENT], {}, "203.0.113.9", True, []),
    "one proxy, uvicorn rewrites": (HERE, [FOR, HTTPS], {}, "203.0.113.9", True, [REWRITTEN]),
    "one proxy, uvicorn rewrites with a port": (
        HERE,
        [("x-forwarded-for", "6.6.6.6, 203.0.113.9:4711"), HTTPS],
        {},
        "203.0.113.9",
        True,
        [REWRITTEN],
    ),
    "one proxy, uvicorn rewrites, an internal client forges": (
        HERE,
        [("x-forwarded-for", "6.6.6.6, 10.0.0.9"), HTTPS],
        {},
        "10.0.0.9",
        True,
        [REWRITTEN],
    ),
    "the same, with a port": (
        HERE,
        [("x-forwarded-for", "6.6.6.6, 10.0.0.9:4711"), HTTPS],
        {},
        "10.0.0.9",
        True,
        [REWRITTEN],
    ),
    "one proxy, uvicorn trusts everybody": (
        HERE,
        [FOR, HTTPS],
        {"forwarded_allow_ips": "*"},
        "6.6.6.6",
        True,
        [REWRITTEN],
    ),
    "one proxy without addresses, uvicorn rewrites the scheme only": (HERE, [HTTPS], {}, LOOPBACK, True, []),
}


@pytest.mark.parametrize(
    ("section", "headers", "options", "client", "secure", "codes"),
    [pytest.param(*row, id=name) for name, row in TABLE.items()],
)
def test_deployment_over_tcp(
    section: dict[str, Any],
    headers: list[tuple[str, str]],
    options: dict[str, Any],
    client: str,
    secure: bool,
    codes: list[str],
) -> None:
    log = EventLog()
    assert ask_over_tcp(section, headers, log, **options).json() == [client, secure, "app.test"]
    assert log.codes == codes


@pytest.mark.parametrize("proxy_headers", [True, False])
@pytest.mark.parametrize(
    ("section", "client", "secure", "codes"), [(UNIX, "203.0.113.9", True, []), ({}, "None", False, [UNPROVEN])]
)
def test_deployment_over_a_unix_socket(
    tmp_path: Path, section: dict[str, Any], client: str, secure: bool, codes: list[str], proxy_headers: bool
) -> None:
    log = EventLog()
    answer = ask_over_unix(tmp_path, section, [FOR, HTTPS], log, proxy_headers=proxy_headers)
    assert answer.json() == [client, secure, "app.test"]
    assert log.codes == codes


def test_proxy_that_says_http_gets_a_redirect_to_the_host_it_forwards() -> None:
    log = EventLog()
    headers = [("x-forwarded-host", "app.test:80"), FOR, HTTP]
    answer = ask_over_tcp(HERE, headers, log, proxy_headers=False)
    assert answer.status_code == 307
    assert answer.headers["location"] == "https://app.test/"
    assert answer.headers["cache-control"] == "no-store"
    assert log.codes == ["https.plain"]


def test_proxy_that_forwards_another_host_gets_a_refusal() -> None:
    log = EventLog()
    answer = ask_over_tcp(HERE, [("x-forwarded-host", "evil.test"), FOR, HTTPS], log, proxy_headers=False)
    assert answer.status_code == 400
    assert log.last.client == "203.0.113.9"
    assert log.codes == ["hosts.unknown"]
