"""What holds for any schema: the pages are served, and nothing but origins gets into their policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from tests.fastapi_pages import PAGES, guarded, policy
from tests.test_csp_properties import relaxed

Strategy: TypeAlias = st.SearchStrategy[Any]

HOSTS = "one.example {region}.example my_api *.example * 'self' 'none' [::1] me@one.example \u017f data: ;".split()
ADDRESSES = st.tuples(
    st.sampled_from(["https://", "HTTP://", "//", "https:", "ftp://", ""]),
    st.sampled_from(HOSTS) | st.text(max_size=5),
    st.sampled_from(["", ":", ":8443", ":65536", ":99999", ":{port}"]),
    st.sampled_from(["", "/v1", "/; script-src *", "\n", ", *"]) | st.text(max_size=5),
).map("".join)
NAMES = ADDRESSES | st.sampled_from("url default servers variables region port paths x-logo flows get *".split())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


def documents(nearly: Callable[[Strategy], Strategy]) -> Strategy:
    """OpenAPI documents with addresses of all kinds, and at every place what `nearly` makes of what is right there."""

    def holding(**members: Strategy) -> Strategy:
        return nearly(st.fixed_dictionaries({name: nearly(member) for name, member in members.items()}))

    variables = holding(region=holding(default=NAMES), port=holding(default=JSON))
    servers = st.lists(holding(url=ADDRESSES, variables=variables), max_size=3)
    flows = holding(password=holding(tokenUrl=ADDRESSES, refreshUrl=ADDRESSES))
    oauth = holding(flows=flows, openIdConnectUrl=ADDRESSES)
    return holding(
        info=nearly(st.fixed_dictionaries({"x-logo": holding(url=ADDRESSES)})),
        servers=servers,
        paths=nearly(st.dictionaries(NAMES, holding(servers=servers, get=holding(servers=servers)), max_size=2)),
        components=holding(securitySchemes=holding(oauth=oauth)),
    )


SCHEMAS = documents(lambda right: right) | documents(lambda right: right | right | right | JSON) | JSON


class Inventive(FastAPI):
    schema: Any = None

    def openapi(self) -> Any:
        return self.schema


PLAIN, APP = FastAPI(), Inventive()
guarded(PLAIN, "api")
guarded(APP, "api")


NAMED = {("/docs", "connect-src"), ("/docs", "media-src"), ("/redoc", "img-src")}


def names_an_origin(source: str) -> bool:
    """Whether a source is a scheme, a host and maybe a port, and no word, pattern or path."""
    read = urlsplit(source)  # of whose parts `port` raises where it is none
    rest = read.netloc.removesuffix(f":{read.port}").replace("-", "").replace(".", "")
    return read.scheme in {"http", "https"} and rest.isascii() and rest.isalnum() and not any(read[2:])


@given(SCHEMAS, st.sampled_from(["http", "https"]))
@relaxed
def test_no_schema_breaks_a_page_or_its_policy(schema: Any, scheme: str) -> None:
    APP.schema = schema
    plain, client = (TestClient(app, base_url=f"{scheme}://testserver") for app in (PLAIN, APP))
    for path in PAGES:
        answer = client.get(path)
        assert answer.status_code == 200
        usual, sent = policy(plain.get(path)), policy(answer)
        assert sent.keys() == usual.keys()
        for name in sent.keys() - {"script-src", "style-src"}:
            known = len(usual[name])
            more = sent[name][known:]
            assert sent[name][:known] == usual[name]
            assert not more or (path, name) in NAMED
            assert all(map(names_an_origin, more))
