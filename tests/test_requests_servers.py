"""The limits over real sockets: uvicorn with h11 and httptools, hypercorn and granian."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.limited import MOST
from tests.servers import COMMANDS, get, running
from tests.serving import LOOPBACK

PATIENCE = 30.0


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with running("tests.limited:app") as ports:
        yield ports


@pytest.fixture(params=COMMANDS)
def server(request: pytest.FixtureRequest, ports: dict[str, int]) -> int:
    return ports[request.param]


def opened(port: int, path: str, *lines: str, body: bytes = b"") -> socket.socket:
    """Open a connection, and begin a POST on it."""
    connection = socket.create_connection((LOOPBACK, port), timeout=PATIENCE)
    head = [f"POST {path} HTTP/1.1", "host: example.com", *lines, "", ""]
    connection.sendall("\r\n".join(head).encode() + body)
    return connection


def answer_on(connection: socket.socket) -> bytes:
    """Read until the server closes. One that closes while we still send may reset the connection."""
    received = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += part
    return received


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def state(port: int) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(get(port, "/state").partition(b"\r\n\r\n")[2])
    return told


def test_a_length_too_large_is_refused_before_the_endpoint_runs(server: int) -> None:
    before = state(server)["ran"]
    with opened(server, "/write", f"content-length: {MOST + 1}") as connection:
        answer = answer_on(connection)  # and so the server closed, although it had not got what was announced
    assert status_of(answer) == 413
    assert b"cache-control: no-store" in answer.lower()
    assert state(server)["ran"] == before


def test_a_length_as_large_as_allowed_is_fine(server: int) -> None:
    with opened(server, "/read", f"content-length: {MOST}", "connection: close", body=b"x" * MOST) as connection:
        assert answer_on(connection).endswith(b"100000")


def test_a_client_that_asks_first_need_not_send_its_body(server: int) -> None:
    with opened(server, "/read", f"content-length: {MOST + 1}", "expect: 100-continue") as connection:
        assert b" 413 " in answer_on(connection)  # hypercorn says 100 before anybody is asked


def test_a_body_without_an_end_ends_with_a_refusal(server: int) -> None:
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    sent = 0
    with opened(server, "/read", "transfer-encoding: chunked") as connection:
        with suppress(ConnectionResetError, BrokenPipeError):
            while sent < 1000 * MOST:
                connection.sendall(chunk)
                sent += len(chunk)
        assert sent < 1000 * MOST, "the server closed the connection"


def test_a_body_too_large_by_one_is_told_so(server: int) -> None:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (MOST + 1, b"x" * (MOST + 1))
    with opened(server, "/read", "transfer-encoding: chunked", body=body) as connection:
        assert status_of(answer_on(connection)) == 413


@pytest.mark.parametrize("lines", [["content-length: 10"], ["transfer-encoding: chunked"]])
def test_a_body_that_stops_coming_is_refused(server: int, lines: list[str]) -> None:
    body = b"x" if "length" in lines[0] else b"1\r\nx\r\n"
    with opened(server, "/slow", *lines, body=body) as connection:
        answer = answer_on(connection)
    assert status_of(answer) == 408
    assert b"connection: close" in answer.lower()


def test_a_body_that_never_begins_is_refused(server: int) -> None:
    with opened(server, "/slow", "content-length: 10") as connection:
        assert status_of(answer_on(connection)) == 408


def test_slots_come_back_when_clients_leave(server: int) -> None:
    def status() -> int:
        with opened(server, "/held", "content-length: 1", "connection: close", body=b"x") as connection:
            return status_of(answer_on(connection))

    deadline = time.monotonic() + PATIENCE
    for _ in range(3):
        with ExitStack() as held:
            while status() != 503:  # a few too many, for our own question takes a slot as well
                held.enter_context(opened(server, "/held", "content-length: 10", body=b"x"))
                assert time.monotonic() < deadline
        while status() != 200:
            assert time.monotonic() < deadline


def test_methods_that_are_not_allowed(server: int) -> None:
    answer = get(server, "/", method="TRACE")
    assert status_of(answer) in {400, 405}, "some servers refuse it themselves"
    answer = get(server, "/", method="BREW")
    assert status_of(answer) in {400, 405}
    if status_of(answer) == 405:
        assert b"allow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT" in answer.replace(b"Allow", b"allow")


# Websockets


def closed_with(port: int, path: str, *said: str) -> tuple[list[str | bytes], int | None]:
    """Say something, and return what was heard until the server closed, and with which code."""

    async def talk() -> tuple[list[str | bytes], int | None]:
        heard: list[str | bytes] = []
        async with connect(f"ws://{LOOPBACK}:{port}{path}", proxy=None, max_size=None) as socket:
            for text in said:
                await socket.send(text)
            with suppress(ConnectionClosed):
                while True:
                    heard.append(await socket.recv())
            return heard, socket.close_code

    return asyncio.run(asyncio.wait_for(talk(), PATIENCE))


def test_a_message_too_large_closes_the_websocket(server: int) -> None:
    assert closed_with(server, "/chat", "x" * MOST, "x" * (MOST + 1)) == ([str(MOST)], 1009)


def test_a_silent_websocket_is_closed(server: int) -> None:
    assert closed_with(server, "/idle", "hello") == (["5"], 1001)


def test_one_websocket_too_many_does_not_open(server: int) -> None:
    async def talk() -> int:
        async with connect(f"ws://{LOOPBACK}:{server}/few", proxy=None):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(f"ws://{LOOPBACK}:{server}/few", proxy=None):
                    raise AssertionError
        return refused.value.response.status_code

    assert asyncio.run(asyncio.wait_for(talk(), PATIENCE)) in {503, 403}
