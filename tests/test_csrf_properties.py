"""What no request gets past, whatever else it carries."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from secguard.policy.exchange import Allowed
from tests.csrf_requests import (
    CROSS_SITE,
    FOREIGN,
    FRAMED,
    ISOLATED,
    OPENED,
    ORIGIN,
    origin,
    site,
    verdict,
)
from tests.helpers import Line

sites = st.sampled_from([b"cross-site", b"same-site", b"same-origin", b"none", b"", b"x"]).map(site)
origins = st.sampled_from(
    [b"https://evil.test", b"null", b"https://example.com", b"https://app.example.com", b"http://example.com:80", b"-"]
).map(origin)
others = st.sampled_from([(b"host", b"example.com"), (b"cookie", b"a=1"), (b"accept", b"*/*"), *FRAMED, *OPENED])
requests = st.lists(st.one_of(sites, origins, others), max_size=7)
switches = st.fixed_dictionaries({}, optional=dict.fromkeys(["require_origin", "isolate"], st.booleans()))
kinds: Any = st.sampled_from([{"method": "POST"}, {"method": "DELETE"}, {"method": "GET"}, {"websocket": True}])


@given(switches, st.lists(st.one_of(others, st.just(FOREIGN), st.just(CROSS_SITE)), max_size=6), st.booleans())
def test_nothing_foreign_from_another_site_passes(section: dict[str, Any], lines: list[Line], websocket: bool) -> None:
    more: dict[str, Any] = {"websocket": True} if websocket else {"method": "POST"}
    assert verdict(section, FOREIGN, *lines, CROSS_SITE, **more) != "passes"


@given(switches, requests.filter(lambda lines: FOREIGN in lines), st.sampled_from([None, "pattern", "any"]))
def test_no_handshake_passes_with_a_foreign_origin(
    section: dict[str, Any], lines: list[Line], allowed: Allowed | None
) -> None:
    assert verdict(section, *lines, websocket=True, allowed=allowed) != "passes"


@given(switches, requests.flatmap(lambda lines: st.tuples(st.just(lines), st.permutations(lines))), kinds)
def test_order_of_lines_decides_nothing(
    section: dict[str, Any], both: tuple[list[Line], list[Line]], kind: dict[str, Any]
) -> None:
    one, other = both
    assert verdict(section, *one, **kind) == verdict(section, *other, **kind)


@given(requests, kinds)
def test_asking_for_an_origin_lets_nothing_more_pass(lines: list[Line], kind: dict[str, Any]) -> None:
    for strict in (ORIGIN, ISOLATED):
        if verdict({}, *lines, **kind) != "passes":
            assert verdict(strict, *lines, **kind) != "passes"


names_of_lines = st.sampled_from([b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest", b"host"])


@given(st.lists(st.tuples(names_of_lines, st.binary(max_size=320)), max_size=5), switches, kinds)
def test_no_bytes_raise(lines: list[Line], section: dict[str, Any], kind: dict[str, Any]) -> None:
    verdict(section, *lines, **kind)
