"""The scripts and stylesheets of the documentation pages: where each comes from, and the digest that proves it.

1. Ours lie beside this module.
2. Swagger UI and ReDoc are served from this machine where the `apidocs` extra has installed them. It brings
   fastapi-offline, of which no code runs: its files are those of the npm packages, byte for byte.
3. Without it, the browser takes the same versions from a CDN, and nothing but the bytes with the pinned digest.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha384
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

CDN: Final = "https://cdn.jsdelivr.net/npm/"

# The versions that the extra installs. tests/test_fastapi_assets.py compares the digests with the files that it brings.
_PINNED: Final = {
    "swagger-ui-bundle.js": (
        "swagger-ui-dist@5.32.6/swagger-ui-bundle.js",
        "sha384-EYdOaiRwn44zNjrw+Tfs06qYz9BGQVo2f4/pLY5i7VorbjnZNhdplAbTBk8FXHUJ",
    ),
    "swagger-ui.css": (
        "swagger-ui-dist@5.32.6/swagger-ui.css",
        "sha384-9Q2fpS+xeS4ffJy6CagnwoUl+4ldAYhOs9pgZuEKxypVModhmZFzeMlvVsAjf7uT",
    ),
    "redoc.standalone.js": (
        "redoc@2.5.3/bundles/redoc.standalone.js",
        "sha384-xiEssMQFSpSfLbzRZCGfxxIM5QDb2DTrU6vyoZdp2sV1L6pmOMy6MpTtUoLbpC96",
    ),
}
# By name, for a machine's own table of types may call a script text/plain, which `nosniff` then keeps from running.
_TYPES: Final = {".js": "text/javascript", ".css": "text/css"}
_FOREVER: Final = {"cache-control": "public, max-age=31536000, immutable"}  # RFC 8246: the address has the digest in it


@dataclass(frozen=True, slots=True)
class Asset:
    """A script or a stylesheet: a file of this machine, or an address of the CDN."""

    name: str
    integrity: str
    source: Path | str

    def routes(self, folder: str) -> list[Route]:
        """Return the route that serves it below `folder`, or none where the CDN does."""
        source = self.source
        if isinstance(source, str):
            return []

        async def serve(request: Request) -> FileResponse:
            return FileResponse(source, media_type=_TYPES[source.suffix], headers=_FOREVER)

        return [Route(f"{folder}/{self.name}", serve, include_in_schema=False)]

    def element(self, folder: str, nonce: str | None) -> str:
        """Return the element that loads it, which the nonce lets in and the digest checks (SRI section 3.5)."""
        address = self.source if isinstance(self.source, str) else f"{folder}/{self.name}"
        proof = f'integrity="{self.integrity}" crossorigin="anonymous"' + (f' nonce="{nonce}"' if nonce else "")
        if self.name.endswith(".css"):
            return f'<link rel="stylesheet" href="{escape(address)}" {proof}>'
        return f'<script defer src="{escape(address)}" {proof}></script>'


def own(name: str) -> Asset:
    """Return a script of ours."""
    return _local(Path(__file__).with_name(name))


def third_party(name: str) -> Asset:
    """Return a file of Swagger UI or ReDoc."""
    address, integrity = _PINNED[name]
    spec = find_spec("fastapi_offline")  # found, not imported
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder, "static", name)).is_file():
            return _local(path)
    return Asset(name, integrity, CDN + address)


@cache
def _local(path: Path) -> Asset:
    digest = sha384(path.read_bytes())
    integrity = f"sha384-{b64encode(digest.digest()).decode()}"
    return Asset(f"{path.stem}-{digest.hexdigest()[:16]}{path.suffix}", integrity, path)
