"""Try an installed secguard with nothing beside it: one line, one request, the headers are there."""

import asyncio
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import secguard


async def hello(request: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def get(app: Any, path: str) -> list[dict[str, Any]]:
    """Return the messages that `app` sends for one request."""
    sent = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"example.com")],
        "client": ("192.0.2.1", 50000),
        "server": ("192.0.2.2", 443),
    }
    await app(scope, receive, send)
    return sent


def main() -> None:
    start, *_ = asyncio.run(get(secguard.protect(Starlette(routes=[Route("/", hello)])), "/"))
    headers = dict(start["headers"])
    if start["status"] != 200 or not {b"strict-transport-security", b"x-content-type-options"} <= headers.keys():
        raise SystemExit(f"the wheel does not harden: {start}")
    if not files(secguard).joinpath("py.typed").is_file():
        raise SystemExit("the wheel does not say that it is typed")
    print(f"secguard-asgi {version('secguard-asgi')} on starlette {version('starlette')}: {len(headers)} headers")


if __name__ == "__main__":
    main()
