"""What the pages need of a policy, besides their own scripts and stylesheets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from secguard.csp import BLOB, DATA, SELF, UNSAFE_HASHES, hash_text

Needs: TypeAlias = Mapping[str, list[str]]
Schema: TypeAlias = Mapping[str, Any]

ICON: Final[Needs] = {"img_src": [DATA]}  # an empty one, so that nobody asks for /favicon.ico

# Swagger UI aligns the columns of a Markdown table with a style attribute, which it takes away again, but not before
# the browser has parsed it and complained. These three, and no others.
_ALIGNED: Final = [UNSAFE_HASHES, *(hash_text(f"text-align:{side}") for side in ("left", "center", "right"))]
# What CSP 3 section 2.3.1 has a word for: no IPv6 address and no user.
_ORIGIN: Final = re.compile(
    r"(https?://[a-z0-9\-]+(?:\.[a-z0-9\-]+)*(?::[0-9]{1,5})?)(?:[/?#].*)?", re.IGNORECASE | re.DOTALL
)


def of_swagger(schema: Schema) -> Needs:
    """Return what Swagger UI needs: its stylesheet's icons, what it sends requests to, and media in the answers."""
    elsewhere = _origins(_endpoints(schema))
    return {
        "connect_src": [SELF, *elsewhere],
        "img_src": [SELF, DATA, BLOB],
        "media_src": [SELF, *elsewhere],
        "style_src_attr": _ALIGNED,
    }


def of_redoc(schema: Schema) -> Needs:
    """Return what ReDoc needs: the schema, pictures in it, the app's logo, and a worker for its search."""
    logo = schema.get("info", {}).get("x-logo", {}).get("url", "")
    return {
        "connect_src": [SELF],
        "img_src": [SELF, DATA, *_origins([logo])],
        "worker_src": [BLOB],
    }


def _endpoints(schema: Schema) -> Iterator[str]:
    """Yield the addresses that "Execute" and "Authorize" send requests to."""
    paths = list(schema.get("paths", {}).values())
    operations = [operation for path in paths for operation in path.values() if isinstance(operation, dict)]
    for holder in (schema, *paths, *operations):
        for server in holder.get("servers", ()):
            address = server["url"]
            for name, variable in server.get("variables", {}).items():
                address = address.replace(f"{{{name}}}", variable["default"])
            yield address
    for scheme in schema.get("components", {}).get("securitySchemes", {}).values():
        yield scheme.get("openIdConnectUrl", "")
        for flow in scheme.get("flows", {}).values():
            yield from (flow.get("tokenUrl", ""), flow.get("refreshUrl", ""))


def _origins(addresses: Iterable[str]) -> list[str]:
    """Return the origins of addresses, each once. A relative address has none, and what no source can name is left."""
    return list(dict.fromkeys(found[1] for address in addresses if (found := _ORIGIN.fullmatch(address))))
