"""Real servers on loopback, each in a process of its own, and a client that sends bytes as they are."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from tests.serving import LOOPBACK, ROOT, clean_environment

# `{port}` is the port to listen on. None of them has an option that rewrites what the client sent.
COMMANDS: Final[dict[str, str]] = {
    "uvicorn-h11": "uvicorn {app} --port {port} --log-level error --http h11 --no-proxy-headers",
    "uvicorn-httptools": "uvicorn {app} --port {port} --log-level error --http httptools --no-proxy-headers",
    "hypercorn": "hypercorn {app} --bind 127.0.0.1:{port} --log-level ERROR",
    "granian": "granian {app} --port {port} --interface asgi --log-level error --no-access-log",
}
ROOT_PATH_OPTION: Final = {"hypercorn": "--root-path", "granian": "--url-path-prefix"}
PATIENCE: Final = 30.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(app: str, root_path: str = "") -> Iterator[dict[str, int]]:
    """Serve `app` (`module:name`) by every server at once, and yield their ports."""
    ports = {name: free_port() for name in COMMANDS}
    with ExitStack() as stack:
        for name, command in COMMANDS.items():
            arguments = [sys.executable, "-m", *command.format(app=app, port=ports[name]).split()]
            if root_path:
                arguments += [ROOT_PATH_OPTION.get(name, "--root-path"), root_path]
            server = subprocess.Popen(
                arguments,
                cwd=ROOT,
                env=clean_environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # some have workers: they are ended together
            )
            stack.callback(_stop, server)
        for name, port in ports.items():
            _wait_until_it_answers(name, port)
        yield ports


def _stop(server: subprocess.Popen[bytes]) -> None:
    os.killpg(server.pid, signal.SIGKILL)  # nothing is left to be polite to
    server.wait()


def _wait_until_it_answers(name: str, port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if send(port, b"GET / HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n"):
                return
        except OSError:
            time.sleep(0.05)  # it is still starting: there is nothing else to wait on
    raise AssertionError(f"{name} does not answer on port {port}")


def send(port: int, request: bytes) -> bytes:
    """Send bytes on a connection of their own, and return all that comes back until the server closes it."""
    received = []
    with socket.create_connection((LOOPBACK, port), timeout=10) as connection:
        connection.sendall(request)
        try:
            while part := connection.recv(65536):
                received.append(part)
        except ConnectionResetError:
            pass
    return b"".join(received)


def get(port: int, target: str, *lines: str, host: str = "example.com", method: str = "GET") -> bytes:
    """Send a request whose target is written as given, and return the whole answer."""
    head = [f"{method} {target} HTTP/1.1", f"host: {host}", "connection: close", *lines, "", ""]
    return send(port, "\r\n".join(head).encode("utf-8", "surrogateescape"))
