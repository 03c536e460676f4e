"""Over real sockets: uvicorn with h11 and httptools, hypercorn and granian."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.bypasses import TARGETS
from tests.frameworks import SITES
from tests.servers import COMMANDS, get, send
from tests.serving import LOOPBACK
from tests.streams import FILE

BUSY = [target for target in TARGETS if "%" not in target or "%2f" in target.lower() or "%2e" in target.lower()]


@pytest.fixture(params=COMMANDS)
def server(request: pytest.FixtureRequest, servers: dict[str, int]) -> int:
    return servers[request.param]


def head_of(answer: bytes) -> list[str]:
    return answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")


def lines_of(answer: bytes) -> list[tuple[str, str]]:
    found = [line.partition(":") for line in head_of(answer)[1:]]
    return [(name.lower(), value.strip()) for name, _, value in found]


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def body_of(answer: bytes) -> bytes:
    body = answer.partition(b"\r\n\r\n")[2]
    if ("transfer-encoding", "chunked") in lines_of(answer):
        chunks = re.compile(rb"([0-9A-Fa-f]+)\r\n")
        whole, at = b"", 0
        while (match := chunks.match(body, at)) and (size := int(match[1], 16)):
            whole += body[match.end() : match.end() + size]
            at = match.end() + size + 2
        return whole
    return body


# --- what leaves ---

OWN = {"date", "server", "connection", "transfer-encoding", "x-site"}
OURS = {
    *(
        "x-frame-options",
        "x-content-type-options",
        "strict-transport-security",
        "referrer-policy",
        "permissions-policy",
    ),
    *("cross-origin-opener-policy", "cross-origin-resource-policy", "origin-agent-cluster"),
}
PAGES = [
    "/stream",
    "/events",
    "/cookies",
    "/file",
    "/redirect",
    "/nothing",
    "/nowhere",
    "/background",
    "/raising",
    "/extensions/",
]


@pytest.mark.parametrize("path", PAGES)
def test_a_guarded_app_answers_as_a_bare_one_does(server: int, path: str) -> None:
    guarded, bare = get(server, path, "x-site: guarded"), get(server, path, "x-site: bare")
    assert status_of(guarded) == status_of(bare)
    assert body_of(guarded) == body_of(bare)
    told = [line for line in lines_of(guarded) if line[0] not in OWN | OURS]
    assert told == [line for line in lines_of(bare) if line[0] not in OWN | OURS]
    for name in ("x-content-type-options", "x-frame-options", "referrer-policy"):
        assert len([value for own, value in lines_of(guarded) if own == name]) == 1


def test_a_file_arrives_whole(server: int) -> None:
    assert body_of(get(server, "/file")) == FILE.read_bytes()


def test_a_body_arrives_and_returns_in_chunks(server: int) -> None:
    head = "POST /echo HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    answer = send(server, head.encode() + b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")
    assert (status_of(answer), body_of(answer)) == (200, b"one two")


def test_a_client_that_leaves_disturbs_nobody(server: int) -> None:
    with socket.create_connection((LOOPBACK, server), timeout=10) as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nhost: example.com\r\n\r\n")
        assert b"more" in connection.recv(65536) + connection.recv(65536)
    assert status_of(get(server, "/stream")) == 200


def test_a_connection_is_kept_and_used_again(server: int) -> None:
    once = b"GET /cookies HTTP/1.1\r\nhost: example.com\r\n\r\n"
    last = b"GET /cookies HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n"
    assert send(server, once + once + last).count(b" 200 ") == 3


def test_refusals_are_whole_answers(server: int) -> None:
    answer = get(server, "/refused")
    assert (status_of(answer), body_of(answer)) == (403, b"Forbidden\n")
    lines = dict(lines_of(answer))
    assert (lines["cache-control"], lines["x-content-type-options"]) == ("no-store", "nosniff")
    assert body_of(get(server, "/refused", method="HEAD")) == b""


def test_http_1_0_needs_no_host(server: int) -> None:
    assert status_of(send(server, b"GET /stream HTTP/1.0\r\n\r\n")) == 200


TWICE = {
    "two hosts": ("host", "host: example.com"),
    "two lengths": ("content-length", "content-length: 0\r\ncontent-length: 0"),
    "two fetch sites": ("sec-fetch-site", "sec-fetch-site: same-origin\r\nsec-fetch-site: cross-site"),
}


@pytest.mark.parametrize(("name", "lines"), TWICE.values(), ids=TWICE)
def test_no_endpoint_sees_a_line_twice_that_must_be_single(server: int, name: str, lines: str) -> None:
    answer = get(server, "/seen", lines, method="POST")
    assert answer == b"" or status_of(answer) >= 400 or body_of(answer).split().count(name.encode()) == 1


def test_no_endpoint_sees_a_length_beside_a_transfer_encoding(server: int) -> None:
    head = "POST /seen HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n"
    answer = send(server, f"{head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".encode())
    framing = {b"content-length", b"transfer-encoding"}
    assert answer == b"" or status_of(answer) >= 400 or len(framing & set(body_of(answer).split())) <= 1


# --- websockets ---


def test_a_conversation_over_a_websocket(server: int) -> None:
    async def talk() -> tuple[list[str | bytes], int | None, str | None, list[str]]:
        async with connect(f"ws://127.0.0.1:{server}/talk", subprotocols=["chat"], proxy=None) as socket:  # type: ignore[list-item]
            await socket.send("bye")
            heard = [await socket.recv(), await socket.recv()]
            await socket.wait_closed()
            assert socket.response is not None
            nosniff = socket.response.headers.get_all("x-content-type-options")
            return heard, socket.close_code, socket.response.headers.get("x-own"), nosniff

    heard, code, own, nosniff = asyncio.run(talk())
    assert (heard, code) == (["bye", b"bye"], 4001)
    assert (own, nosniff) in [("1", ["nosniff"]), (None, [])], "granian sends no headers of websocket.accept"


@pytest.mark.parametrize(("path", "statuses"), [("/refused", {403}), ("/deny", {403}), ("/hang_up", {403})])
def test_a_refused_websocket_does_not_open(server: int, path: str, statuses: set[int]) -> None:
    async def knock() -> int:
        async with connect(f"ws://127.0.0.1:{server}{path}", proxy=None):
            return 101

    with pytest.raises(InvalidStatus) as caught:
        asyncio.run(knock())
    assert caught.value.response.status_code in statuses


# --- path rules, as servers really decode ---


@pytest.mark.parametrize("site", SITES)
def test_a_refused_page_is_never_reached(server: int, site: str) -> None:
    for target in BUSY:
        assert b"reached admin" not in get(server, target, f"x-site: refusing {site}"), target


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("name", COMMANDS)
def test_nor_where_the_server_has_a_root_path(servers_with_root_path: dict[str, int], name: str, site: str) -> None:
    for target in BUSY:
        answer = get(servers_with_root_path[name], target, f"x-site: refusing {site}")
        assert b"reached admin" not in answer, target
        answer = get(servers_with_root_path[name], target, f"x-site: exempting {site}")
        assert not re.search(rb"reached (?!hook)", answer), target


@pytest.mark.parametrize("site", SITES)
def test_the_corpus_reaches_the_page_where_nobody_refuses(server: int, site: str) -> None:
    assert b"reached admin" in get(server, "/admin/x", f"x-site: open {site}")
    assert b"reached public" in get(server, "/public", f"x-site: refusing {site}")
