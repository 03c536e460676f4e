"""A real uvicorn on loopback, for the tests that must not take ASGI's word for it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).parent.parent
LOOPBACK = "127.0.0.1"


def clean_environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without its own SECGUARD_* variables, and with those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SECGUARD_")}
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    return kept | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"} | variables


@contextmanager
def uvicorn(
    app: str,
    *options: str,
    folder: Path = ROOT,
    variables: Mapping[str, str] | None = None,
    port: int = 0,
) -> Iterator[int]:
    """Serve `app` (`module:name`) from `folder` on a port of loopback, a free one unless told, and yield the port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it (Linux)
        listener.bind((LOOPBACK, port))
        listener.listen(64)
        port = listener.getsockname()[1]
        descriptor = listener.fileno()
        command = [sys.executable, "-m", "uvicorn", app, "--fd", str(descriptor), *options]
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=clean_environment(**(variables or {})),
            pass_fds=[descriptor],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        _wait_until_it_answers(server, port)
        # It goes on talking, and once the pipe is full it would stop to wait for a reader.
        audience = Thread(target=server.communicate)
        audience.start()
        try:
            yield port
        finally:
            server.terminate()
            audience.join(timeout=30)
    finally:
        server.kill()
        server.wait()


def _wait_until_it_answers(server: subprocess.Popen[str], port: int) -> None:
    """Wait until the server has started: the listener is open before, but nobody accepts."""
    assert server.stdout is not None
    deadline = time.monotonic() + 20
    said = []
    while time.monotonic() < deadline and (line := server.stdout.readline()):
        said.append(line)
        if "Application startup complete" in line:
            return
    raise AssertionError(f"no server on port {port}:\n{''.join(said)}")
