"""Over a socket: requests per second of uvicorn on loopback, asked by this process over connections that stay open.

All servers run from the start, each in a process of its own. They are loaded one at a time, in turns.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec

from tests.benchmarks.cases import SERVED, Case, build
from tests.benchmarks.spread import NotMeasuredError
from tests.serving import LOOPBACK, ROOT, clean_environment

CONNECTIONS = 8
_MOST = 1_000_000  # requests of one turn, whatever the clock says
_OPTIONS = ("--no-access-log", "--no-server-header", "--http", "httptools", "--host", LOOPBACK, "--port", "0")
_RUNNING = re.compile(rf"running on http://{re.escape(LOOPBACK)}:(\d+)")
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class _Client(asyncio.Protocol):
    """One connection: asks, reads the whole answer, asks again, until told to stop."""

    def __init__(self, request: bytes, until: float) -> None:
        self.request = request
        self.until = until
        self.answers = 0
        self.closed = asyncio.get_running_loop().create_future()
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            return
        start = self._buffer.index(_LENGTH) + len(_LENGTH)
        length = int(self._buffer[start : self._buffer.index(b"\r\n", start)])
        if len(self._buffer) < end + len(_HEAD_END) + length:
            return
        if not self._buffer.startswith(b"HTTP/1.1 200 "):
            self.transport.abort()
            return
        self._buffer = b""
        self.answers += 1
        if time.monotonic() < self.until and self.answers < _MOST:
            self.transport.write(self.request)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(None)


async def _load(port: int, request: bytes, seconds: float) -> float:
    """Ask one server for some time over all connections, and return its requests per second."""
    loop = asyncio.get_running_loop()
    start = time.monotonic()
    made = [
        await loop.create_connection(lambda: _Client(request, start + seconds), LOOPBACK, port)
        for _ in range(CONNECTIONS)
    ]
    await asyncio.wait_for(asyncio.gather(*(client.closed for _, client in made)), seconds + 10)
    spent = time.monotonic() - start
    if not all(client.answers for _, client in made):
        raise NotMeasuredError("a server refused the request of the benchmark")
    return sum(client.answers for _, client in made) / spent


@contextmanager
def _serving(case: Case) -> Iterator[int]:
    """Serve one case, and yield the port. Uvicorn must bind it: a socket handed over would keep Nagle's delay."""
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "tests.benchmarks.serve:app", *_OPTIONS],
        cwd=ROOT,
        env=clean_environment(BENCHMARK=case.name),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    try:
        said = ""
        while not (running := _RUNNING.search(said)):
            line = server.stderr.readline()
            if not line:
                raise NotMeasuredError(f"uvicorn did not start: {said.strip().splitlines()[-1:]}")
            said += line
        yield int(running[1])
    finally:
        server.terminate()
        server.communicate(timeout=10)


def measure(turns: int, seconds: float) -> dict[Case, list[float]]:
    """Return requests per second, per case and turn."""
    for needed in ("uvicorn", "httptools"):
        if find_spec(needed) is None:
            raise NotMeasuredError(f"{needed} is not installed")
    cases, _ = build(SERVED)
    rates: dict[Case, list[float]] = {case: [] for case in cases}
    with ExitStack() as servers:
        ports = {case: servers.enter_context(_serving(case)) for case in cases}
        for turn in range(-1, turns):  # one to warm up
            for case, port in ports.items():
                rate = asyncio.run(_load(port, case.traffic.request, seconds))
                if turn >= 0:
                    rates[case].append(rate)
    return rates
