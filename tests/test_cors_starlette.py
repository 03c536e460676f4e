"""Starlette's own CORS tests, held against its middleware and against ours.

The scenarios are those of Starlette's tests/middleware/test_cors.py (BSD-3-Clause, (c) Encode OSS Ltd. and Marcelo
Trylesinski), each written down as what is asked and what Starlette is expected to answer. Where ours answers in another
way, DIFFERENCES says so, and docs/reference/cors.md has a row with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware.cors import ALL_METHODS
from starlette.middleware.cors import CORSMiddleware as StarlettesMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from secguard.cors import CORSMiddleware, CORSSettings

ROOT = Path(__file__).parent.parent
EVERY = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
ORIGIN = "https://example.org"

Seen: TypeAlias = dict[str, Any]

# What a difference is called. Each is a row of docs/reference/cors.md.
REFUSAL = "a preflight that fails"
REASON = "what a failed preflight says"
PREFLIGHT_VARY = "`Vary` on a preflight's answer"
STAR = "`*` on the way out"
STAR_CREDENTIALS = "`*` with credentials"
STRANGER = "an origin that is not allowed"
NULL = "`null`"
NOBODY = "nobody allowed"
PRIVATE = "`allow_private_network`"


@dataclass(frozen=True)
class Ask:
    """One request, and what Starlette answers: lists as sets, None for a header that is not there."""

    sends: Mapping[str, str]
    gets: Seen
    method: str = "GET"


def preflight(sends: Mapping[str, str], status: int = 200, **gets: Any) -> Ask:
    return Ask(
        {"Origin": ORIGIN, "Access-Control-Request-Method": "GET", **sends}, {"status": status, **gets}, "OPTIONS"
    )


def simple(sends: Mapping[str, str] | None = None, **gets: Any) -> Ask:
    return Ask({"Origin": ORIGIN} if sends is None else sends, {"status": 200, "text": "Homepage", **gets})


@dataclass(frozen=True)
class Scenario:
    """The parameters, and what is asked then. `own` are the lines of the app."""

    parameters: Mapping[str, Any]
    asks: list[Ask]
    own: Mapping[str, str] = field(default_factory=dict)


ALL = {"allow_origins": ["*"], "allow_headers": ["*"], "allow_methods": ["*"]}
VARY = {"Origin"}
VARY_ALL = {
    "Origin",
    "Access-Control-Request-Method",
    "Access-Control-Request-Headers",
    "Access-Control-Request-Private-Network",
}
LISTED = {"Accept", "Accept-Language", "Content-Language", "Content-Type", "X-Example"}
ASKS = {"Access-Control-Request-Headers": "X-Example"}
ENCODED = {"Vary": "Accept-Encoding"}
COOKIE = {"Origin": ORIGIN, "Cookie": "star_cookie=sugar"}
BEARER = {"Origin": ORIGIN, "Authorization": "Bearer token"}
NEVER = {"origin": None, "credentials": None}

SCENARIOS: dict[str, Scenario] = {
    "allow_all": Scenario(
        {**ALL, "expose_headers": ["X-Status"], "allow_credentials": True},
        [
            preflight(ASKS, text="OK", origin=ORIGIN, headers={"X-Example"}, credentials="true"),
            simple(origin=ORIGIN, exposed={"X-Status"}, credentials="true"),
            simple(COOKIE, origin=ORIGIN, exposed={"X-Status"}, credentials="true"),
            simple({}, origin=None),
        ],
    ),
    "allow_all_except_credentials": Scenario(
        {**ALL, "expose_headers": ["X-Status"]},
        [
            preflight(ASKS, text="OK", origin="*", headers={"X-Example"}, credentials=None, vary=VARY_ALL),
            simple(origin="*", exposed={"X-Status"}, credentials=None, vary=VARY),
            simple({}, origin=None, vary=VARY),
        ],
    ),
    "allow_specific_origin": Scenario(
        {"allow_origins": [ORIGIN], "allow_headers": ["X-Example", "Content-Type"]},
        [
            preflight(
                {"Access-Control-Request-Headers": "X-Example, Content-Type"},
                text="OK",
                origin=ORIGIN,
                headers=LISTED,
                methods={"GET"},
                credentials=None,
                vary=VARY_ALL,
            ),
            simple(origin=ORIGIN, credentials=None, vary=VARY),
            simple({"Origin": "https://another.org"}, origin=None, vary=VARY),
            simple({}, origin=None, vary=VARY),
        ],
    ),
    "disallowed_preflight": Scenario(
        {"allow_origins": [ORIGIN], "allow_headers": ["X-Example"]},
        [
            preflight(
                {
                    "Origin": "https://another.org",
                    "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "X-Nope",
                },
                400,
                text="Disallowed CORS origin, method, headers",
                origin=None,
            ),
            preflight({"Access-Control-Request-Headers": "X-Nope-1, X-Nope-2"}, 400, text="Disallowed CORS headers"),
        ],
    ),
    "preflight_allows_request_origin_if_origins_wildcard_and_credentials_allowed": Scenario(
        {"allow_origins": ["*"], "allow_methods": ["POST"], "allow_credentials": True},
        [preflight({"Access-Control-Request-Method": "POST"}, origin=ORIGIN, credentials="true")],
    ),
    "preflight_allow_all_methods": Scenario(
        {"allow_origins": ["*"], "allow_methods": ["*"]},
        [preflight({"Access-Control-Request-Method": method}, methods=set(ALL_METHODS)) for method in EVERY],
    ),
    "allow_all_methods": Scenario(
        {"allow_origins": ["*"], "allow_methods": ["*"]},
        [Ask({"Origin": ORIGIN}, {"status": 200, "origin": "*"}, method) for method in EVERY],
    ),
    "allow_origin_regex": Scenario(
        {
            "allow_headers": ["X-Example", "Content-Type"],
            "allow_origin_regex": "https://.*",
            "allow_credentials": True,
        },
        [
            simple(origin=ORIGIN, credentials="true"),
            simple(COOKIE, origin=ORIGIN, credentials="true"),
            simple({"Origin": "http://example.org"}, origin=None, credentials="true"),
            preflight(
                {"Origin": "https://another.com", "Access-Control-Request-Headers": "X-Example, content-type"},
                text="OK",
                origin="https://another.com",
                headers=LISTED,
                credentials="true",
            ),
            preflight({"Origin": "http://another.com", **ASKS}, 400, text="Disallowed CORS origin", origin=None),
        ],
    ),
    "allow_origin_regex_fullmatch": Scenario(
        {"allow_headers": ["X-Example", "Content-Type"], "allow_origin_regex": r"https://.*\.example.org"},
        [
            simple({"Origin": "https://subdomain.example.org"}, **{**NEVER, "origin": "https://subdomain.example.org"}),
            simple({"Origin": "https://subdomain.example.org.hacker.com"}, **NEVER),
        ],
    ),
    "credentialed_requests": Scenario(
        {"allow_origins": ["*"]},
        [simple(COOKIE, origin="*", credentials=None), simple(BEARER, origin="*", credentials=None)],
    ),
    "vary_header_defaults_to_origin": Scenario({"allow_origins": [ORIGIN]}, [simple(vary=VARY)]),
    "vary_header_with_wildcard": Scenario(
        {"allow_origins": ["*"]}, [simple(vary={"Accept-Encoding", "Origin"})], own=ENCODED
    ),
    "vary_header_when_allow_origins_is_not_wildcard": Scenario(
        {"allow_origins": [ORIGIN]}, [simple(vary={"Accept-Encoding", "Origin"})], own=ENCODED
    ),
    "preflight_vary_with_wildcard_origins_specific_methods": Scenario(
        {"allow_origins": ["*"], "allow_methods": ["GET", "POST"]},
        [preflight({"Access-Control-Request-Method": "POST"}, vary=VARY_ALL)],
    ),
    "preflight_vary_with_specific_origins_wildcard_methods": Scenario(
        {"allow_origins": [ORIGIN], "allow_methods": ["*"]},
        [preflight({"Access-Control-Request-Method": "POST"}, vary=VARY_ALL)],
    ),
    "allowed_origin_does_not_leak_between_requests": Scenario(
        ALL,
        [
            simple(origin="*", credentials=None),
            simple(COOKIE, origin="*", credentials=None),
            simple({"Origin": "https://second.example"}, origin="*", credentials=None),
        ],
    ),
    "allowed_origin_does_not_leak_between_credentialed_requests": Scenario(
        {**ALL, "allow_credentials": True},
        [
            simple({"Origin": "https://first.example"}, origin="https://first.example", credentials="true"),
            simple({"Origin": "https://second.example"}, origin="https://second.example", credentials="true"),
        ],
    ),
    "private_network_access_allowed": Scenario(
        {"allow_origins": ["*"], "allow_methods": ["*"], "allow_private_network": True},
        [preflight({"Access-Control-Request-Private-Network": "true"}, text="OK", private="true")],
    ),
    "private_network_access_disallowed": Scenario(
        {"allow_origins": ["*"], "allow_methods": ["*"]},
        [
            preflight({}, text="OK", private=None),
            preflight(
                {"Access-Control-Request-Private-Network": "true"},
                400,
                text="Disallowed CORS private-network",
                private=None,
            ),
        ],
    ),
    "null_origin_with_wildcard": Scenario(
        {"allow_origins": ["*"]}, [preflight({"Origin": "null"}, origin="*"), simple({"Origin": "null"}, origin="*")]
    ),
    "null_origin_with_regex": Scenario(
        {"allow_origin_regex": r"null|https://.*"},
        [
            preflight({"Origin": "null"}, origin="null"),
            simple({"Origin": "null"}, origin="null"),
            simple(origin=ORIGIN),
        ],
    ),
    "null_origin_explicitly_allowed": Scenario(
        {"allow_origins": ["null", ORIGIN]},
        [preflight({"Origin": "null"}, origin="null"), simple({"Origin": "null"}, origin="null")],
    ),
    "method_case_sensitive": Scenario(
        {"allow_origins": [ORIGIN], "allow_methods": ["POST"]},
        [
            preflight({"Access-Control-Request-Method": "POST"}),
            preflight({"Access-Control-Request-Method": "post"}, 400, text="Disallowed CORS method"),
        ],
    ),
    "empty_origins_list": Scenario(
        {"allow_origins": []},
        [preflight({}, 400, text="Disallowed CORS origin", origin=None), simple(origin=None, vary=VARY)],
    ),
    "origins_list_and_regex_both_accepted": Scenario(
        {"allow_origins": [ORIGIN], "allow_origin_regex": r"https://.*\.trusted\.com"},
        [
            simple(origin=ORIGIN),
            simple({"Origin": "https://api.trusted.com"}, origin="https://api.trusted.com"),
            simple({"Origin": "https://evil.com"}, origin=None),
        ],
    ),
    "max_age_header": Scenario({"allow_origins": ["*"]}, [preflight({}, age="600")]),
    "max_age_header_custom": Scenario({"allow_origins": ["*"], "max_age": 7200}, [preflight({}, age="7200")]),
    "no_origin_header_no_cors_processing": Scenario({"allow_origins": ["*"]}, [simple({}, origin=None, vary=VARY)]),
    "header_name_case_insensitive": Scenario(
        {"allow_origins": ["*"], "allow_headers": ["X-Custom-Header"]},
        [preflight({"Access-Control-Request-Headers": "x-custom-header"})],
    ),
}

# Where the start is refused: the code, and what that difference is called.
STOPPED: dict[str, tuple[str, str]] = {
    "allow_all": ("cors-wildcard", STAR_CREDENTIALS),
    "preflight_allows_request_origin_if_origins_wildcard_and_credentials_allowed": ("cors-wildcard", STAR_CREDENTIALS),
    "allowed_origin_does_not_leak_between_credentialed_requests": ("cors-wildcard", STAR_CREDENTIALS),
    "private_network_access_allowed": ("extra_forbidden", PRIVATE),
    "null_origin_explicitly_allowed": ("origin", NULL),
    "empty_origins_list": ("cors-nobody", NOBODY),
}
# What is answered in another way, by scenario and number of the request, and what each difference is called.
DIFFERENCES: dict[tuple[str, int], dict[str, tuple[Any, str]]] = {
    ("allow_all_except_credentials", 0): {
        "vary": ({"Access-Control-Request-Method", "Access-Control-Request-Headers"}, PREFLIGHT_VARY)
    },
    ("allow_all_except_credentials", 1): {"vary": (None, STAR)},
    ("allow_all_except_credentials", 2): {"origin": ("*", STAR), "vary": (None, STAR)},
    ("allow_specific_origin", 0): {"vary": ({"Origin"}, PREFLIGHT_VARY)},
    ("disallowed_preflight", 0): {
        "status": (403, REFUSAL),
        "text": ("Disallowed CORS origin https://another.org, method POST, headers X-Nope\n", REASON),
    },
    ("disallowed_preflight", 1): {
        "status": (403, REFUSAL),
        "text": ("Disallowed CORS headers X-Nope-1, X-Nope-2\n", REASON),
    },
    ("allow_origin_regex", 2): {"credentials": (None, STRANGER)},
    ("allow_origin_regex", 4): {
        "status": (403, REFUSAL),
        "text": ("Disallowed CORS origin http://another.com\n", REASON),
    },
    ("vary_header_with_wildcard", 0): {"vary": ({"Accept-Encoding"}, STAR)},
    ("preflight_vary_with_wildcard_origins_specific_methods", 0): {"vary": (None, PREFLIGHT_VARY)},
    ("preflight_vary_with_specific_origins_wildcard_methods", 0): {
        "vary": ({"Origin", "Access-Control-Request-Method"}, PREFLIGHT_VARY)
    },
    ("private_network_access_disallowed", 1): {"status": (200, PRIVATE), "text": ("OK", PRIVATE)},
    ("null_origin_with_regex", 0): {"status": (403, NULL), "origin": (None, NULL)},
    ("null_origin_with_regex", 1): {"origin": (None, NULL)},
    ("method_case_sensitive", 1): {"status": (403, REFUSAL), "text": ("Disallowed CORS method post\n", REASON)},
    ("no_origin_header_no_cors_processing", 0): {"origin": ("*", STAR), "vary": (None, STAR)},
}


def site(own: Mapping[str, str]) -> Starlette:
    def homepage(request: Request) -> PlainTextResponse:
        return PlainTextResponse("Homepage", headers=dict(own))

    return Starlette(routes=[Route("/", homepage, methods=EVERY)])


def starlettes(app: ASGIApp, parameters: Mapping[str, Any]) -> ASGIApp:
    return StarlettesMiddleware(app, **parameters)


def ours(app: ASGIApp, parameters: Mapping[str, Any]) -> ASGIApp:
    return CORSMiddleware(app, CORSSettings(**parameters), sinks=())


def play(wrap: Callable[[ASGIApp, Mapping[str, Any]], ASGIApp], scenario: Scenario) -> list[Seen]:
    """Ask everything that a scenario asks, and return what came back of what Starlette's test looks at."""
    client = TestClient(wrap(site(scenario.own), scenario.parameters))
    return [{name: value for name, value in seen(client, ask).items() if name in ask.gets} for ask in scenario.asks]


def seen(client: TestClient, ask: Ask) -> Seen:
    answer = client.request(ask.method, "/", headers=dict(ask.sends))
    lists = {"headers": "allow-headers", "methods": "allow-methods", "exposed": "expose-headers"}
    texts = {
        "origin": "allow-origin",
        "credentials": "allow-credentials",
        "age": "max-age",
        "private": "allow-private-network",
    }
    headers = answer.headers
    return {
        "status": answer.status_code,
        "text": answer.text,
        "vary": elements(headers.get("vary")),
        **{name: elements(headers.get(f"access-control-{of}")) for name, of in lists.items()},
        **{name: headers.get(f"access-control-{of}") for name, of in texts.items()},
    }


def elements(value: str | None) -> set[str] | None:
    if value is None:
        return None
    listed = [element.strip() for element in value.split(",")]
    assert len(listed) == len(set(listed)), f"{value} names something twice"
    return set(listed)


@pytest.mark.parametrize("name", SCENARIOS)
def test_starlettes_middleware_passes_starlettes_tests(name: str) -> None:
    assert play(starlettes, SCENARIOS[name]) == [ask.gets for ask in SCENARIOS[name].asks]


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in STOPPED])
def test_ours_passes_them_but_for_the_differences(name: str) -> None:
    expected = [
        {**ask.gets, **{what: value for what, (value, _) in DIFFERENCES.get((name, at), {}).items()}}
        for at, ask in enumerate(SCENARIOS[name].asks)
    ]
    assert play(ours, SCENARIOS[name]) == expected


@pytest.mark.parametrize("name", STOPPED)
def test_ours_does_not_start_where_that_is_a_difference(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        CORSSettings(**SCENARIOS[name].parameters)
    assert [error["type"] for error in caught.value.errors()] == [STOPPED[name][0]]


def test_a_difference_is_one() -> None:
    for (name, at), differences in DIFFERENCES.items():
        for what, (value, _) in differences.items():
            assert SCENARIOS[name].asks[at].gets[what] != value


def test_every_difference_has_its_reason_in_the_documentation() -> None:
    page = ROOT.joinpath("docs/reference/cors.md").read_text()
    section = page.partition("## Differences to Starlette's")[2].partition("\n## ")[0]
    rows = set(re.findall(r"^\| (?!what \||---)(.+?) \|", section, re.MULTILINE))
    told = {kind for differences in DIFFERENCES.values() for _, kind in differences.values()}
    assert rows >= told | {kind for _, kind in STOPPED.values()}
