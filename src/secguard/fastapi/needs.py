"""What the pages need of a policy, besides their own scripts and stylesheets.

An app may make any schema it likes. What in it is not as OpenAPI says is passed over here: Swagger UI and ReDoc tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from secguard.csp import BLOB, DATA, SELF, UNSAFE_HASHES, hash_text

Needs: TypeAlias = Mapping[str, list[str]]

ICON: Final[Needs] = {"img_src": [DATA]}  # an empty one, so that nobody asks for /favicon.ico

# Swagger UI aligns the columns of a Markdown table with a style attribute, which it takes away again, but not before
# the browser has parsed it and complained. These three, and no others.
_ALIGNED: Final = [UNSAFE_HASHES, *(hash_text(f"text-align:{side}") for side in ("left", "center", "right"))]

# Where a document names servers, and where a security scheme names what hands out its tokens.
_SERVERS: Final = [("servers", "*"), ("paths", "*", "servers", "*"), ("paths", "*", "*", "servers", "*")]
_PROVIDERS: Final = [("flows", "*", "tokenUrl"), ("flows", "*", "refreshUrl"), ("openIdConnectUrl",)]
_VARIABLE: Final = re.compile(r"\{([^{}]+)\}")

# A URI or a network-path reference (RFC 3986 section 4.2), with a host that CSP 3 section 2.3.1 has a word for: no IPv6
# address, no user, no underscore.
_ADDRESS: Final = re.compile(
    r"(?:(?P<scheme>https?):)?//(?P<authority>[a-z0-9\-]+(?:\.[a-z0-9\-]+)*(?::(?P<port>[0-9]{1,5}))?)(?:[/?#].*)?",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)


def of_swagger(schema: object, scheme: str) -> Needs:
    """Return what Swagger UI needs: its stylesheet's icons, what it sends requests to, and media in the answers."""
    elsewhere = _origins(_endpoints(schema), scheme)
    return {
        "connect_src": [SELF, *elsewhere],
        "img_src": [SELF, DATA, BLOB],
        "media_src": [SELF, *elsewhere],
        "style_src_attr": _ALIGNED,
    }


def of_redoc(schema: object, scheme: str) -> Needs:
    """Return what ReDoc needs: the schema, pictures in it, the app's logo, and a worker for its search."""
    return {
        "connect_src": [SELF],
        "img_src": [SELF, DATA, *_origins(_texts(schema, "info", "x-logo", "url"), scheme)],
        "worker_src": [BLOB],
    }


def _endpoints(schema: object) -> Iterator[str]:
    """Yield the addresses that "Execute" and "Authorize" send requests to."""
    for query in _SERVERS:
        for server in _select(schema, *query):
            yield from _server(server)
    for query in _PROVIDERS:
        yield from _texts(schema, "components", "securitySchemes", "*", *query)


def _server(server: object) -> Iterator[str]:
    """Yield the address of a server, with the defaults of its variables."""

    def default(variable: re.Match[str]) -> str:
        return next(_texts(server, "variables", variable[1], "default"), variable[0])

    for url in _texts(server, "url"):
        yield _VARIABLE.sub(default, url)


def _texts(document: object, *names: str) -> Iterator[str]:
    """Yield the texts among what is selected, and numbers as such: a port is easily written as one."""
    return (str(value) for value in _select(document, *names) if isinstance(value, str | int))


def _select(document: object, *names: str) -> list[object]:
    """Return what names and wildcards lead to in a document, by the rules of JSONPath (RFC 9535 section 2.3)."""
    nodes = [document]
    for name in names:
        nodes = [child for node in nodes for child in _children(node, name)]
    return nodes


def _children(node: object, name: str) -> Iterable[object]:
    if isinstance(node, Mapping):
        return node.values() if name == "*" else [node[name]] if name in node else []
    return node if name == "*" and isinstance(node, list | tuple) else []


def _origins(addresses: Iterable[str], scheme: str) -> list[str]:
    """Return the origins of addresses, each once. A relative address has none, and what no source can name is left.

    One without a scheme has the page's. Where a proxy keeps from us that this is https, the source is right as well:
    `http` stands for both (CSP 3 section 6.7.2.9).
    """
    found = filter(None, map(_ADDRESS.fullmatch, addresses))
    named = (f"{it['scheme'] or scheme}://{it['authority']}" for it in found if int(it["port"] or 0) < 65536)
    return list(dict.fromkeys(named))
