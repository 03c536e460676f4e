"""CORS: what may be set, whom it allows, what a preflight may ask for. Through Guards: test_cors_guards.py."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from secguard._http import is_field_name
from secguard._origins import LONGEST_ORIGIN, parse_origin
from secguard.cors import CORSFields, CORSPolicy, CORSRule, CORSSettings
from secguard.cors.terms import Terms, asked_for
from secguard.policy import Context, Reply
from tests.helpers import EventLog, exchange

APP = "https://app.example.com"
RULE = {"paths": ["/assets"]}


def settings(**fields: Any) -> CORSSettings:
    return CORSSettings.model_validate(fields)


def mistakes(**fields: Any) -> list[tuple[str, tuple[Any, ...], str]]:
    """Return code, place and text of everything that is wrong with these fields."""
    with pytest.raises(ValidationError) as caught:
        settings(**fields)
    return [(error["type"], error["loc"], error["msg"]) for error in caught.value.errors()]


# What may be set


def test_fields_are_called_and_default_as_starlettes() -> None:
    section = settings(allow_origins=[APP])
    assert section.allow_origin_regex is None
    assert section.allow_methods == ("GET",)
    assert section.allow_headers == section.expose_headers == ()
    assert section.allow_credentials is False
    assert section.max_age == 600


def test_lists_may_be_written_with_commas() -> None:
    section = settings(allow_origins=f"{APP}, https://*.example.org", allow_methods="*", allow_headers="X-A,X-B")
    assert section.allow_origins == (APP, "https://*.example.org")
    assert (section.allow_methods, section.allow_headers) == (("*",), ("X-A", "X-B"))


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"allow_origins": ["null"]}, "origin", "nobody in particular"),
        ({"allow_origins": [f"{APP}/"]}, "origin", f"write {APP}"),
        ({"allow_origins": ["https://*.com"]}, "origin", "name the origins"),
        ({"allow_methods": ["CONNECT"]}, "cors-method", "'CONNECT': browsers let no script use it"),
        ({"allow_methods": ["trace"]}, "cors-method", "browsers let no script use it"),
        ({"allow_methods": ["Track"]}, "cors-method", "browsers let no script use it"),
        ({"allow_methods": ["get"]}, "cors-method", "write GET"),
        ({"allow_methods": ["patch"]}, "cors-method", "write PATCH"),
        ({"allow_methods": ["GET POST"]}, "cors-method", "no method"),
        ({"allow_methods": [""]}, "cors-method", "no method"),
        ({"allow_methods": ["GÈT"]}, "cors-method", "no method"),
        ({"allow_headers": ["Cookie"]}, "cors-header", "'Cookie': browsers set it themselves"),
        ({"allow_headers": ["Origin"]}, "cors-header", "browsers set it themselves"),
        ({"allow_headers": ["Sec-Fetch-Site"]}, "cors-header", "browsers set it themselves"),
        ({"allow_headers": ["proxy-authorization"]}, "cors-header", "browsers set it themselves"),
        ({"allow_headers": ["X Token"]}, "cors-header", "no name of a header"),
        ({"allow_headers": ["X-Token:"]}, "cors-header", "no name of a header"),
        ({"allow_headers": ["X-Tökén"]}, "cors-header", "no name of a header"),
        ({"expose_headers": ["Set-Cookie"]}, "cors-header", "show it to no script"),
        ({"expose_headers": ["set-cookie2"]}, "cors-header", "show it to no script"),
        ({"expose_headers": [""]}, "cors-header", "no name of a header"),
        ({"allow_origin_regex": "("}, "cors-regex", "no regular expression"),
        ({"max_age": -1}, "greater_than_equal", ""),
        ({"allow_private_network": True}, "extra_forbidden", ""),
    ],
    ids=str,
)
def test_what_no_browser_could_make_use_of_stops_the_start(fields: dict[str, Any], code: str, said: str) -> None:
    fields = {"allow_origins": [APP], **fields}
    ((told, place, message),) = mistakes(**fields)
    assert (told, place[0]) == (code, next(reversed(fields)))
    assert said in message
    ((told, place, _),) = mistakes(rules=[{**RULE, **fields}])
    assert (told, place[:2]) == (code, ("rules", 0))


@pytest.mark.parametrize(
    "fields",
    [
        {"allow_methods": ["PROPFIND", "Egg", "*"]},
        {"allow_headers": ["Authorization", "content-type", "Range", "*"]},
        {"expose_headers": ["*", "X-Total"]},
        {"expose_headers": ["Cache-Control", "x-total"], "allow_credentials": True},
        {"max_age": 0},
        {"allow_origin_regex": r"https://.*\.example\.org"},
        {"allow_origins": [], "allow_origin_regex": r"https://.*\.example\.org"},
        {"allow_origins": ["http://localhost:3000", "chrome-extension://abcdef", "https://*.example.org:8443"]},
    ],
    ids=str,
)
def test_everything_else_may_be_set(fields: dict[str, Any]) -> None:
    section = settings(**{"allow_origins": [APP], **fields})
    assert section.under("strict") == section


WILDCARDS: list[tuple[dict[str, Any], str]] = [
    ({"allow_origins": ["*", APP]}, "take it away, or all the others"),
    ({"allow_origins": ["*"], "allow_origin_regex": "https://.*"}, "take it away, or all the others"),
    ({"allow_origins": ["*"], "allow_credentials": True}, "name the origins, or set allow_credentials=false"),
    (
        {"allow_origins": [APP], "allow_credentials": True, "expose_headers": ["*"]},
        "name the headers in expose_headers",
    ),
]


@pytest.mark.parametrize(("fields", "said"), WILDCARDS, ids=str)
def test_a_star_beside_what_it_rules_out_stops_the_start(fields: dict[str, Any], said: str) -> None:
    ((code, place, message),) = mistakes(**fields)
    assert (code, place) == ("cors-wildcard", ())
    assert said in message
    assert "(at" not in message
    ((code, place, message),) = mistakes(rules=[{**RULE, **fields}])
    assert said in message
    assert message.endswith("(at /assets)")


def test_all_that_stars_rule_out_is_told_at_once() -> None:
    ((_, _, message),) = mistakes(allow_origins=["*", APP], allow_credentials=True, expose_headers=["*"])
    assert message.count("; ") == 2


def test_every_other_mistake_is_told_at_once() -> None:
    told = mistakes(
        allow_origins=["null", APP, "x"],
        allow_methods=["get"],
        allow_headers=["Cookie"],
        max_age=-1,
        rules=[{"paths": ["/a"], "allow_origins": ["y"]}, {"paths": ["b"]}],
    )
    assert [place for _, place, _ in told] == [
        ("allow_origins", 0),
        ("allow_origins", 2),
        ("allow_methods", 0),
        ("allow_headers", 0),
        ("max_age",),
        ("rules", 0, "allow_origins", 0),
        ("rules", 1, "paths", 0),
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"allow_origins": []},
        {"allow_credentials": True, "allow_methods": ["*"]},
        {"rules": [{**RULE, "allow_methods": ["POST"]}]},
        {"rules": [{**RULE, "allow_origins": []}]},
        {"allow_origins": [], "rules": [{"paths": ["/"], "allow_origins": []}]},
    ],
    ids=str,
)
def test_a_section_that_allows_nobody_anywhere_stops_the_start(fields: dict[str, Any]) -> None:
    ((code, place, message),) = mistakes(**fields)
    assert (code, place) == ("cors-nobody", ())
    assert "leave the section off" in message


# Rules


@pytest.mark.parametrize(
    ("rules", "where"),
    [
        ([("/assets", {"allow_origins": ["*"]})], "/assets"),
        ([("/a", {"allow_origins": ["*"], "allow_credentials": False}), ("/a/b", {"allow_credentials": True})], "/a/b"),
        (
            [("/a/*", {"allow_origins": ["*"], "allow_credentials": False}), ("/*/b", {"allow_credentials": True})],
            "/a/b",
        ),
        ([("/{x}/b/c", {"allow_credentials": True}), ("/a", {"allow_origins": ["*"]})], "/a"),
        ([("/", {"allow_origins": ["*"]})], "/"),
    ],
)
def test_rules_that_only_clash_where_they_meet_stop_the_start(rules: list[tuple[str, Any]], where: str) -> None:
    written = [{"paths": [path], **fields} for path, fields in rules]
    ((code, _, message),) = mistakes(allow_origins=[APP], allow_credentials=True, rules=written)
    assert code == "cors-wildcard"
    assert f"(at {where})" in message


@pytest.mark.parametrize(
    "rules",
    [
        [("/a", {"allow_origins": ["*"], "allow_credentials": False}), ("/b", {"allow_credentials": True})],
        [("/a", {"allow_origins": ["*"], "allow_credentials": False}), ("/a/b", {"allow_origins": [APP]})],
        [
            ("/a", {"allow_origins": ["*"], "allow_credentials": False}),
            ("/a/b", {"allow_origins": [APP], "allow_credentials": True}),
        ],
        [("/x/*", {"allow_origins": ["*"], "allow_credentials": False}), ("/{y}/b/c", {"allow_origins": []})],
    ],
)
def test_rules_that_never_meet_do_not_clash(rules: list[tuple[str, Any]]) -> None:
    settings(
        allow_origins=[APP],
        allow_credentials=True,
        rules=[{"paths": [path], **fields} for path, fields in rules],
    )


def test_a_rule_says_anew_whom_it_allows_and_leaves_the_rest() -> None:
    section = settings(
        allow_origins=[APP],
        allow_origin_regex=r"https://.*\.example\.org",
        allow_headers=["X-A"],
        rules=[
            {"paths": ["/partner"], "allow_origins": ["https://partner.example"]},
            {"paths": ["/more"], "allow_origin_regex": r"https://.*\.example\.net"},
            {"paths": ["/methods"], "allow_methods": ["POST"]},
        ],
    )
    partner, more, methods = (section.over((at,)) for at in range(3))
    assert (partner.allow_origins, partner.allow_origin_regex) == (("https://partner.example",), None)
    assert partner.allow_headers == ("X-A",)
    assert (more.allow_origins, more.allow_origin_regex) == ((), r"https://.*\.example\.net")
    assert (methods.allow_origins, methods.allow_methods) == ((APP,), ("POST",))
    assert methods.allow_origin_regex == section.allow_origin_regex


def test_the_most_specific_rule_has_the_last_word() -> None:
    policy = CORSPolicy(
        settings(
            rules=[
                {"paths": ["/api/{v}/open"], "allow_origins": ["*"]},
                {"paths": ["/api"], "allow_origins": [APP]},
            ]
        )
    )
    ways = {}
    for path in ("/", "/api", "/api/v1", "/api/v1/open", "/api/v1/open/x", "/apis"):
        asked = exchange(path, [(b"origin", APP.encode())])
        assert policy.admit(asked) is None
        ways[path] = asked.allowed
    assert ways == {
        "/": None,
        "/api": "exact",
        "/api/v1": "exact",
        "/api/v1/open": "any",
        "/api/v1/open/x": "any",
        "/apis": None,
    }


# Whom it allows

ORIGINS = [APP, "https://*.example.org", "http://*.ports.test:8080", "http://localhost:3000", "https://*.b.example.net"]


def granted(origin: bytes, **fields: Any) -> str | None:
    grant = Terms(CORSFields.model_validate(fields or {"allow_origins": ORIGINS})).grant(origin)
    assert grant is None or grant.lines == (() if grant.allowed == "any" else grant.lines)
    assert grant is None or grant.allowed == "any" or (b"access-control-allow-origin", origin) in grant.lines
    return grant.allowed if grant else None


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        pytest.param(b"https://app.example.com", "exact", id="an origin by name"),
        pytest.param(b"http://localhost:3000", "exact", id="an origin with a port"),
        pytest.param(b"https://www.example.org", "pattern", id="below a pattern"),
        pytest.param(b"https://a.b.c.example.org", "pattern", id="below a pattern at any depth"),
        pytest.param(b"http://x.ports.test:8080", "pattern", id="the pattern's port"),
        pytest.param(b"https://a.b.example.net", "pattern", id="below a longer pattern"),
        pytest.param(b"https://app.example.com:8443", None, id="another port"),
        pytest.param(b"http://app.example.com", None, id="another scheme"),
        pytest.param(b"http://localhost", None, id="no port"),
        pytest.param(b"https://www.app.example.com", None, id="below an origin by name"),
        pytest.param(b"https://example.org", None, id="a pattern's own name"),
        pytest.param(b"https://badexample.org", None, id="a name that ends alike"),
        pytest.param(b"https://www.example.org.evil.test", None, id="a name that begins alike"),
        pytest.param(b"https://www.example.org:8443", None, id="another port than the pattern's"),
        pytest.param(b"http://www.example.org", None, id="another scheme than the pattern's"),
        pytest.param(b"http://x.ports.test", None, id="no port, and the pattern has one"),
        pytest.param(b"https://b.example.net", None, id="a longer pattern's own name"),
        pytest.param(b"https://example.net", None, id="above a pattern"),
        pytest.param(b"https://org", None, id="a single label"),
        pytest.param(b"HTTPS://APP.EXAMPLE.COM", None, id="capitals"),
        pytest.param(b"https://app.example.com/", None, id="a slash at the end"),
        pytest.param(b"https://app.example.com.", None, id="a dot at the end"),
        pytest.param(b"https://www.example.org\n", None, id="a line end"),
        pytest.param(b"https://evil.test/.example.org", None, id="a path that ends alike"),
        pytest.param(b"https://user@www.example.org", None, id="a user"),
        pytest.param(b"https://www.example.org:443", None, id="the scheme's own port"),
        pytest.param(b"https://www.example.org, https://evil.test", None, id="a list"),
        pytest.param(b"https://*.example.org", None, id="the pattern itself"),
        pytest.param(b"null", None, id="null"),
        pytest.param(b"*", None, id="a star"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"https://" + b"a." * 200 + b"example.org", None, id="too long"),
    ],
)
def test_origins_and_patterns(origin: bytes, allowed: str | None) -> None:
    assert granted(origin) == allowed


@given(
    st.lists(st.sampled_from(("a", "b", "example", "org", "com", "evil")), min_size=1, max_size=6).map(".".join),
    st.sampled_from(("http", "https")),
    st.sampled_from(("", ":8080", ":8443")),
)
def test_a_pattern_stands_for_the_names_below_it(name: str, scheme: str, port: str) -> None:
    patterns = ["https://*.example.org", "http://*.b.example.com:8080"]
    expected = (scheme == "https" and not port and name.endswith(".example.org")) or (
        scheme == "http" and port == ":8080" and name.endswith(".b.example.com")
    )
    assert (granted(f"{scheme}://{name}{port}".encode(), allow_origins=patterns) == "pattern") is expected


def test_a_regular_expression_matches_as_a_whole() -> None:
    regex = r"https://[a-z]+\.example\.org|https://partner"
    assert granted(b"https://app.example.org", allow_origin_regex=regex) == "pattern"
    assert granted(b"https://app.example.org.evil.test", allow_origin_regex=regex) is None
    assert granted(b"https://partner.evil.test", allow_origin_regex=regex) is None
    assert granted(b"xhttps://partner", allow_origin_regex=regex) is None


@pytest.mark.parametrize(
    "origin",
    [b"null", b"", b"https://a\n", b"https://A", b"https://a/", b"https://" + b"a" * 300, b"\xff", b"https://a b"],
)
def test_a_regular_expression_only_sees_origins_of_at_most_300_bytes(origin: bytes) -> None:
    assert len(origin) > LONGEST_ORIGIN or parse_origin(origin) is None
    assert granted(origin, allow_origin_regex=r"(?s).*") is None


def test_an_origin_by_name_is_exact_even_where_a_pattern_or_the_expression_would_do() -> None:
    fields = {"allow_origins": [APP, "https://*.example.com"], "allow_origin_regex": "https://.*"}
    assert granted(APP.encode(), **fields) == "exact"
    assert granted(b"https://other.example.com", **fields) == "pattern"


@pytest.mark.parametrize("origin", [APP.encode(), b"null", b"", b"nonsense", b"a" * 1000])
def test_a_star_allows_everybody(origin: bytes) -> None:
    assert granted(origin, allow_origins=["*"]) == "any"


def test_what_is_remembered_of_origins_is_bounded() -> None:
    terms = Terms(CORSFields(allow_origins=["https://*.example.org"]))
    before = sys.getallocatedblocks()
    for at in range(20_000):
        terms.grant(b"https://%d.example.org" % at)
        terms.grant(b"https://%d.evil.test" % at)
        terms.grant(b"%d" % at * 400)
    assert sys.getallocatedblocks() - before < 40_000  # blocks: some 20 for each origin that is remembered


# What a preflight may ask for


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([], ()),
        ([b""], ()),
        ([b"x-a"], (b"x-a",)),
        ([b"x-a,x-b"], (b"x-a", b"x-b")),
        ([b" x-a ,\t X-B"], (b"x-a", b"X-B")),
        ([b"x-a,,x-b,"], (b"x-a", b"x-b")),
        ([b"x-a", b"x-b,x-a"], (b"x-a", b"x-b")),
        ([b"x a"], None),
        ([b"x-a;x-b"], None),
        ([b"x-a\r\nx-b"], None),
        ([b"x-\xc3\xa4"], None),
        ([b'"x-a"'], None),
        ([b"," * 4096], ()),
        ([b"," * 4097], None),
        ([b"a" * 4096], (b"a" * 4096,)),
        ([b"a" * 2048, b"b" * 2049], None),
    ],
    ids=repr,
)
def test_names_that_are_asked_for(values: list[bytes], names: tuple[bytes, ...] | None) -> None:
    assert asked_for(values) == names


@given(st.lists(st.binary(max_size=40) | st.text("abX-_, \t", max_size=30).map(str.encode), max_size=4))
def test_reading_names_never_raises_and_never_makes_any_up(values: list[bytes]) -> None:
    names = asked_for(values)
    if names is not None:
        assert all(map(is_field_name, names))
        assert len(set(names)) == len(names)
        assert set(names) == {part.strip(b" \t") for value in values for part in value.split(b",")} - {b""}


def test_a_list_of_65536_bytes_is_read_in_linear_time() -> None:
    assert asked_for([b"a," * 32_768]) is None


ASKED_METHOD = b"access-control-request-method"
ASKED_HEADERS = b"access-control-request-headers"


def preflight(*lines: tuple[bytes, bytes], origin: str = APP, method: str = "GET", **fields: Any) -> Reply:
    """Return the answer to a preflight for GET unless one of the lines asks for another method."""
    asked = [(b"origin", origin.encode()), *lines]
    if not any(name == ASKED_METHOD for name, _ in lines):
        asked.append((ASKED_METHOD, method.encode()))
    policy = CORSPolicy(settings(**{"allow_origins": [APP], **fields}), Context(sinks=(EventLog(),)))
    answer = policy.admit(exchange("/", asked, method="OPTIONS"))
    assert isinstance(answer, Reply)
    return answer


def said(reply: Reply) -> dict[str, str]:
    """Return the CORS lines of a Reply without what they have in common, and Vary; none may come twice."""
    lines = [(name.decode().removeprefix("access-control-"), value.decode()) for name, value in reply.headers]
    assert len(dict(lines)) == len(lines)
    return {name: value for name, value in lines if name != "content-type"}


SAFE = "Accept, Accept-Language, Content-Language, Content-Type"


@pytest.mark.parametrize(
    ("fields", "lines", "expected"),
    [
        pytest.param(
            {},
            [],
            {"allow-origin": APP, "allow-methods": "GET", "allow-headers": SAFE, "max-age": "600", "vary": "Origin"},
            id="an origin by name",
        ),
        pytest.param(
            {"allow_credentials": True, "max_age": 0, "expose_headers": ["X-A"]},
            [],
            {
                "allow-origin": APP,
                "allow-credentials": "true",
                "allow-methods": "GET",
                "allow-headers": SAFE,
                "max-age": "0",
                "vary": "Origin",
            },
            id="credentials, and nothing for scripts to remember or to read",
        ),
        pytest.param(
            {"allow_methods": ["PUT", "GET"], "allow_headers": ["x-token", "content-TYPE", "Authorization"]},
            [(ASKED_HEADERS, b"authorization,content-type,x-token"), (ASKED_METHOD, b"PUT")],
            {
                "allow-origin": APP,
                "allow-methods": "PUT, GET",
                "allow-headers": "Accept, Accept-Language, Authorization, Content-Language, content-TYPE, x-token",
                "max-age": "600",
                "vary": "Origin",
            },
            id="methods and headers by name, none of them twice",
        ),
        pytest.param(
            {"allow_origins": ["*"]},
            [],
            {"allow-origin": "*", "allow-methods": "GET", "allow-headers": SAFE, "max-age": "600"},
            id="everybody: the same for all, so that nothing varies",
        ),
        pytest.param(
            {"allow_headers": ["*"], "allow_credentials": True},
            [(ASKED_HEADERS, b"authorization,x-token")],
            {
                "allow-origin": APP,
                "allow-credentials": "true",
                "allow-methods": "GET",
                "allow-headers": "authorization, x-token",
                "max-age": "600",
                "vary": "Origin, Access-Control-Request-Headers",
            },
            id="all headers: those that are asked for, Authorization among them",
        ),
        pytest.param(
            {"allow_headers": ["*", "X-A"]},
            [],
            {
                "allow-origin": APP,
                "allow-methods": "GET",
                "max-age": "600",
                "vary": "Origin, Access-Control-Request-Headers",
            },
            id="all headers, and none is asked for",
        ),
        pytest.param(
            {"allow_methods": ["*"], "allow_origins": ["*"]},
            [(ASKED_METHOD, b"DELETE")],
            {
                "allow-origin": "*",
                "allow-methods": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY",
                "allow-headers": SAFE,
                "max-age": "600",
                "vary": "Access-Control-Request-Method",
            },
            id="all methods by name, never a star",
        ),
        pytest.param(
            {"allow_methods": ["*"]},
            [(ASKED_METHOD, b"PROPFIND")],
            {
                "allow-origin": APP,
                "allow-methods": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY, PROPFIND",
                "allow-headers": SAFE,
                "max-age": "600",
                "vary": "Origin, Access-Control-Request-Method",
            },
            id="all methods, and one that is asked for",
        ),
    ],
)  # fmt: skip
def test_a_preflight_is_answered(fields: Any, lines: list[tuple[bytes, bytes]], expected: dict[str, str]) -> None:
    reply = preflight(*lines, **fields)
    assert (reply.status, reply.body, reply.event, reply.cacheable) == (200, b"OK", None, True)
    assert said(reply) == expected


@pytest.mark.parametrize(
    ("lines", "fields", "body"),
    [
        pytest.param([], {"allow_origins": ["https://b.test"]}, f"origin {APP}", id="origin"),
        pytest.param([(ASKED_METHOD, b"POST")], {}, "method POST", id="method, though it is safelisted"),
        pytest.param([(ASKED_METHOD, b"get")], {}, "method get", id="method in another case"),
        pytest.param([(ASKED_METHOD, b"*")], {"allow_methods": ["GET"]}, "method *", id="a star for a method"),
        pytest.param([(ASKED_METHOD, b"")], {"allow_methods": ["*"]}, 'method ""', id="no method"),
        pytest.param([(ASKED_METHOD, b"A B")], {"allow_methods": ["*"]}, 'method "A B"', id="malformed method"),
        pytest.param([(ASKED_METHOD, b"Trace")], {"allow_methods": ["*"]}, "method Trace", id="forbidden method"),
        pytest.param(
            [(ASKED_METHOD, b"GET"), (ASKED_METHOD, b"GET")], {}, 'method "GET, GET"', id="two lines for the method"
        ),
        pytest.param([(ASKED_HEADERS, b"x-a")], {}, "headers x-a", id="header"),
        pytest.param(
            [(ASKED_HEADERS, b"x-a, content-type"), (ASKED_HEADERS, b"X-B, X-C")],
            {"allow_headers": ["x-b"]},
            "headers x-a, X-C",
            id="headers in two lines",
        ),
        pytest.param([(ASKED_HEADERS, b"*")], {}, "headers *", id="a star for a header"),
        pytest.param([(ASKED_HEADERS, b"x a")], {"allow_headers": ["*"]}, 'headers "x a"', id="malformed header"),
        pytest.param(
            [(ASKED_HEADERS, b"x\xff\r\n<b>")], {}, r'headers "x\xff\r\n<b>"', id="bytes that would not look well"
        ),
        pytest.param(
            [(ASKED_METHOD, b"PUT"), (ASKED_HEADERS, b"x-a,x-b")],
            {"allow_origins": ["https://b.test"]},
            f"origin {APP}, method PUT, headers x-a, x-b",
            id="everything",
        ),
        pytest.param(
            [(ASKED_HEADERS, b"a" * 5000)], {"allow_headers": ["*"]}, f"headers {'a' * 200}...", id="a long list"
        ),
    ],
)  # fmt: skip
def test_a_preflight_that_fails_says_why_and_nothing_else(lines: Any, fields: Any, body: str) -> None:
    reply = preflight(*lines, **fields)
    assert (reply.status, reply.cacheable) == (403, False)
    assert reply.body.decode() == f"Disallowed CORS {body}\n"
    assert [name for name, _ in reply.headers] == [b"content-type"]
    assert reply.event
    assert reply.event.code == "cors.preflight"
    assert reply.event.detail["origin"] == APP.encode()


def test_the_event_has_what_was_asked_for() -> None:
    reply = preflight((ASKED_METHOD, b"PUT"), (ASKED_HEADERS, b"x-a,accept"))
    assert reply.event
    assert reply.event.reason == "cors does not allow what a preflight asks for: method, headers"
    assert dict(reply.event.detail) == {"origin": APP.encode(), "asked_method": b"PUT", "asked_headers": b"x-a"}


def test_only_a_preflight_is_answered() -> None:
    policy = CORSPolicy(settings(allow_origins=[APP]))
    origin, method = (b"origin", APP.encode()), (ASKED_METHOD, b"GET")
    assert policy.admit(exchange("/", [origin], method="OPTIONS")) is None
    assert policy.admit(exchange("/", [method], method="OPTIONS")) is None
    assert policy.admit(exchange("/", [origin, method], method="GET")) is None
    assert policy.admit(exchange("/", [origin, method], websocket=True)) is None
    assert isinstance(policy.admit(exchange("/", [origin, method], method="OPTIONS")), Reply)


def test_rules_and_fields_are_of_the_kinds_that_they_are_documented_as() -> None:
    rule = CORSRule(paths="/a, /b/", allow_origins="*")
    assert rule.paths == ("/a", "/b")
    assert CORSSettings(rules=[rule]).rules == (rule,)
