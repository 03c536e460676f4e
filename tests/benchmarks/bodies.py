"""`python -m tests.benchmarks.bodies`: what connections with oversize, endless and slow bodies do to a server's memory.

uvicorn serves tests.limited. Each connection sends as much as is taken, or next to nothing, until the server closes it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Final

from tests.serving import LOOPBACK, uvicorn

OPTIONS: Final = ("--no-access-log", "--timeout-graceful-shutdown", "1", "--backlog", "4096")
AT_ONCE: Final = 200
SAMPLES: Final = 20  # of the memory, while the connections come and go
_CHUNK: Final = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
_HEAD: Final = "POST {path} HTTP/1.1\r\nhost: example.com\r\n{line}\r\n\r\n"


def _parts(path: str, line: str, *parts: bytes, endless: bool = False) -> Iterator[bytes]:
    """Yield the head of a request, and what comes of its body."""
    head = _HEAD.format(path=path, line=line).encode()
    return chain([head], repeat(parts[0]) if endless else parts)


# Each of them, and whether its client leaves before there is an answer.
KINDS: Final[dict[str, tuple[Callable[[], Iterator[bytes]], bool]]] = {
    "announced, and sent": (lambda: _parts("/write", "content-length: 1000000000", b"x" * 0x4000, endless=True), False),
    "announced only": (lambda: _parts("/write", "content-length: 1000000000"), False),
    "endless": (lambda: _parts("/read", "transfer-encoding: chunked", _CHUNK, endless=True), False),
    "slow": (lambda: _parts("/slow", "transfer-encoding: chunked", b"1\r\nx\r\n"), False),
    "left in the middle": (lambda: _parts("/read", "content-length: 90000", b"x" * 60_000), True),
}


@dataclass
class Storm:
    """What became of the connections of one kind, and of the server's memory."""

    kind: str
    before: int = 0
    most: int = 0
    after: int = 0
    seconds: float = 0
    answers: Counter[str] = field(default_factory=Counter)

    @property
    def growth(self) -> int:
        """Bytes that the server's memory grew by at most."""
        return max(self.most, self.after) - self.before


async def _ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


async def resident(port: int) -> int:
    """Return the bytes of memory that the server has."""
    answer = await _ask(port, b"GET /state HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n")
    size: int = json.loads(answer.partition(b"\r\n\r\n")[2])["resident"]
    return size


async def _connect(port: int, parts: Iterator[bytes], *, leaves: bool) -> str:
    """Send until the server closes or there is no more to send, and return the status that was answered, if any."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    answer = b""
    try:
        with suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
                if reader.at_eof():
                    break
        if leaves:
            return "left"
        with suppress(ConnectionError):
            answer = await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    return answer[9:12].decode() or "reset"


async def storm(port: int, kind: str, connections: int) -> Storm:
    """Let so many connections of one kind come, some of them at once."""
    make, leaves = KINDS[kind]
    told = Storm(kind, before=await resident(port))
    began, left = time.monotonic(), iter(range(connections))

    async def visitor() -> None:
        for at in left:
            told.answers[await _connect(port, make(), leaves=leaves)] += 1
            if at % max(connections // SAMPLES, 1) == 0:
                told.most = max(told.most, await resident(port))

    await asyncio.gather(*(visitor() for _ in range(min(AT_ONCE, connections))))
    told.after, told.seconds = await resident(port), time.monotonic() - began
    return told


async def measure(port: int, connections: int, warm: int = AT_ONCE) -> list[Storm]:
    """Let every kind come, once the server has met a few of each."""
    for kind in KINDS:
        await storm(port, kind, warm)
    return [await storm(port, kind, connections) for kind in KINDS]


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bodies", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000, help="of each kind (10000)")
    parser.add_argument("--http", choices=["h11", "httptools"], default="httptools", help="uvicorn's parser")
    chosen = parser.parse_args()
    with uvicorn("tests.limited:app", "--http", chosen.http, *OPTIONS) as port:
        storms = asyncio.run(measure(port, chosen.connections))
    print(f"{chosen.connections} connections of each kind, {AT_ONCE} at once, uvicorn with {chosen.http}")
    for told in storms:
        answers = ", ".join(f"{count} x {answer}" for answer, count in told.answers.most_common())
        mib = [f"{size / 2**20:.1f}" for size in (told.before, told.most, told.after)]
        print(f"{told.kind:<20} {' / '.join(mib)} MiB before/most/after  {told.seconds:6.1f} s  {answers}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
