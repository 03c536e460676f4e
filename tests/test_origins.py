"""Origins, as browsers write them and as people do."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from secguard._http import Host
from secguard._origins import (
    LONGEST_ORIGIN,
    SCHEME_PORTS,
    Origin,
    OriginEntry,
    OriginPattern,
    check_origin,
    check_origin_pattern,
    parse_origin,
)

LABELS = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(".".join)
V4 = st.ip_addresses(v=4).map(str)
V6 = st.ip_addresses(v=6).map(lambda address: f"[{address}]")
SCHEMES = st.sampled_from(("http", "https", "ws", "chrome-extension", "app", "a+b.c"))
ORIGINS = st.builds(Origin, SCHEMES, NAMES | V4 | V6, st.none() | st.integers(1, 65535)).filter(
    lambda origin: origin.port is None or origin.port != SCHEME_PORTS.get(origin.scheme)
)


# What browsers send


@given(ORIGINS)
def test_what_is_written_is_read_back(origin: Origin) -> None:
    assert parse_origin(str(origin).encode()) == origin


@given(
    st.binary(max_size=400)
    | st.builds(
        lambda *parts: b"".join(parts),
        st.sampled_from((b"http://", b"https://", b"x:")),
        st.binary(max_size=20),
        st.sampled_from((b"", b":1", b":443", b"/", b".", b"\n")),
    )
)
def test_reading_never_raises_and_takes_one_spelling_only(value: bytes) -> None:
    origin = parse_origin(value)
    assert origin is None or str(origin).encode() == value


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        pytest.param(b"https://example.com", Origin("https", "example.com", None), id="https"),
        pytest.param(b"http://localhost:3000", Origin("http", "localhost", 3000), id="a port"),
        pytest.param(b"http://example.com:443", Origin("http", "example.com", 443), id="another scheme's port"),
        pytest.param(b"https://[2001:db8::1]:8443", Origin("https", "[2001:db8::1]", 8443), id="IPv6"),
        pytest.param(b"http://192.0.2.7", Origin("http", "192.0.2.7", None), id="IPv4"),
        pytest.param(b"chrome-extension://abcdef", Origin("chrome-extension", "abcdef", None), id="an extension"),
        pytest.param(b"https://xn--mnchen-3ya.example", Origin("https", "xn--mnchen-3ya.example", None), id="A-label"),
        pytest.param(b"https://a_b.example", Origin("https", "a_b.example", None), id="an underscore"),
        pytest.param(b"null", None, id="null"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"*", None, id="a star"),
        pytest.param(b"https://", None, id="no host"),
        pytest.param(b"example.com", None, id="no scheme"),
        pytest.param(b"HTTPS://example.com", None, id="a scheme in capitals"),
        pytest.param(b"https://Example.com", None, id="a name in capitals"),
        pytest.param(b"https://example.com/", None, id="a slash at the end"),
        pytest.param(b"https://example.com/path", None, id="a path"),
        pytest.param(b"https://example.com?q", None, id="a query"),
        pytest.param(b"https://example.com#f", None, id="a fragment"),
        pytest.param(b"https://user@example.com", None, id="a user"),
        pytest.param(b"https://example.com.", None, id="a dot at the end"),
        pytest.param(b"https://example..com", None, id="an empty label"),
        pytest.param(b"https://example.com:443", None, id="the scheme's own port"),
        pytest.param(b"http://example.com:80", None, id="the scheme's own port, http"),
        pytest.param(b"https://example.com:0", None, id="port 0"),
        pytest.param(b"https://example.com:08443", None, id="a zero before the port"),
        pytest.param(b"https://example.com:99999", None, id="a port out of range"),
        pytest.param(b"https://example.com:", None, id="a colon without a port"),
        pytest.param(b"https://[2001:DB8::1]", None, id="IPv6 in capitals"),
        pytest.param(b"https://[2001:db8:0::1]", None, id="IPv6 in a longer spelling"),
        pytest.param(b"https://2001:db8::1", None, id="IPv6 without brackets"),
        pytest.param(b"https://example.com https://evil.example", None, id="a list, as RFC 6454 has it"),
        pytest.param(b"https://example.com, https://evil.example", None, id="a list with a comma"),
        pytest.param(b"https://example.com\n", None, id="a line end"),
        pytest.param(b" https://example.com", None, id="a blank in front"),
        pytest.param(b"https://m\xc3\xbcnchen.example", None, id="beyond ASCII"),
        pytest.param(b"https://*.example.com", None, id="a pattern"),
        pytest.param(b"https://example.com\x00.evil.example", None, id="NUL"),
        pytest.param(b"https://" + b"a" * 254, None, id="a name too long"),
        pytest.param(b"a" * LONGEST_ORIGIN + b"://x", None, id="too long altogether"),
    ],
)  # fmt: skip
def test_only_what_browsers_write_is_an_origin(value: bytes, origin: Origin | None) -> None:
    assert parse_origin(value) == origin


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("https://example.com", Host("example.com", None), True),
        ("https://example.com", Host("example.com", 443), True),
        ("https://example.com:8443", Host("example.com", 8443), True),
        ("https://example.com", Host("example.com", 8443), False),
        ("https://example.com:8443", Host("example.com", None), False),
        ("https://example.com", Host("www.example.com", None), False),
        ("http://example.com", Host("example.com", None), True),
        ("http://example.com", Host("example.com", 443), False),
        ("app://example.com", Host("example.com", None), True),
        ("app://example.com", Host("example.com", 443), False),
    ],
)
def test_an_origin_is_where_its_host_and_port_are(origin: str, host: Host, same: bool) -> None:
    parsed = parse_origin(origin.encode())
    assert parsed
    assert parsed.is_at(host) is same


# What people write


@given(ORIGINS)
def test_what_browsers_write_may_be_written_in_settings(origin: Origin) -> None:
    entry = str(origin)
    if len(entry) <= LONGEST_ORIGIN:
        assert check_origin(entry) == check_origin_pattern(entry) == entry


@given(
    st.text(max_size=40) | st.builds("{}://{}{}".format, st.text(max_size=6), st.text(max_size=12), st.text(max_size=4))
)
def test_an_entry_is_kept_as_it_is_or_told_why_not(entry: str) -> None:
    for check in (OriginEntry, OriginPattern):
        try:
            assert TypeAdapter(check).validate_python(entry) == entry
        except ValidationError as error:
            (told,) = error.errors()
            assert told["type"] == "origin"
            assert told["msg"].startswith(repr(entry))


WRONG = [
    ("null", "nobody in particular", "null"),
    ("", "like https://example.com", "empty"),
    ("*", "name the origins", "a star"),
    ("example.com", "write https://example.com", "no scheme"),
    ("example.com/path", "write https://example.com", "no scheme, and a path"),
    ("//example.com", "write https://example.com", "no scheme but slashes"),
    ("//", "like https://example.com", "nothing but slashes"),
    ("https://example.com/", "write https://example.com", "a slash at the end"),
    ("https://example.com/path?q=1", "write https://example.com", "a path"),
    ("https://example.com?q", "write https://example.com", "a query"),
    ("https://example.com#f", "write https://example.com", "a fragment"),
    ("https://example.com\\x", "write https://example.com", "a backslash"),
    ("https://user:secret@example.com", "write https://example.com", "a user"),
    ("https://EXAMPLE.com", "write https://example.com", "capitals"),
    ("HTTPS://example.com", "write https://example.com", "a scheme in capitals"),
    ("https://example.com:443", "write https://example.com", "the port of https"),
    ("http://example.com:80", "write http://example.com", "the port of http"),
    ("https://example.com.", "write https://example.com", "a dot at the end"),
    ("https://[2001:db8:0::1]", "write https://[2001:db8::1]", "a longer IPv6 spelling"),
    ("https://münchen.example", "write https://xn--mnchen-3ya.example", "an international name"),
    ("https://STRAßE.example:8443", "write https://xn--strae-oqa.example:8443", "a letter that browsers keep"),
    ("https://例え。テスト", "write https://xn--r8jz45g.xn--zckzah", "an ideographic full stop"),
    ("https://a.example https://b.example", "an entry of its own", "two in one"),
    ("https://a.example\n", "an entry of its own", "a line end"),
    ("https://example.com:99999", "like https://example.com", "a port out of range"),
    ("https://example.com:x", "like https://example.com", "a port that is no number"),
    ("https://", "like https://example.com", "no host"),
    ("https://a..b", "like https://example.com", "an empty label"),
    ("https://" + "a" * 254, "like https://example.com", "a name too long"),
]  # fmt: skip
NO_ENTRY = [
    ("https://*.example.com", "where patterns are taken", "a pattern"),
    ("https://*:8443", "where patterns are taken", "a port's everybody"),
]
NO_PATTERN = [
    ("https://*", "where patterns are taken", "a scheme's everybody"),
    ("*.example.com", "write https://*.example.com", "a pattern without a scheme"),
    ("https://www.*.com", "where patterns are taken", "a star in the middle"),
    ("https://*.*.com", "where patterns are taken", "two stars"),
    ("https://*example.com", "where patterns are taken", "a star that is no label"),
    ("https://*.example.com/", "write https://*.example.com", "a slash after a pattern"),
    ("https://*.Example.com", "write https://*.example.com", "a pattern in capitals"),
    ("https://*.example.com:443", "write https://*.example.com", "a pattern with the scheme's own port"),
    ("https://*.münchen.example", "write https://*.xn--mnchen-3ya.example", "an international pattern"),
    ("https://*.192.0.2.7", "write https://192.0.2.7", "a star before IPv4"),
    ("https://*.[2001:db8::1]", "write https://[2001:db8::1]", "a star before IPv6"),
    ("https://*.com", "whoever owns a name under com", "a top-level domain"),
    ("https://*.", "like https://example.com", "a star before nothing"),
]


def cases(*rows: tuple[str, str, str]) -> list[Any]:
    return [pytest.param(entry, advice, id=name) for entry, advice, name in rows]


def refusal(check: Any, entry: str) -> str:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(check).validate_python(entry)
    (error,) = caught.value.errors()
    assert error["type"] == "origin"
    assert error["msg"].startswith(repr(entry))
    return error["msg"]


@pytest.mark.parametrize(("entry", "advice"), cases(*WRONG, *NO_ENTRY))
def test_an_entry_that_no_browser_sends_is_told_what_to_write(entry: str, advice: str) -> None:
    assert advice in refusal(OriginEntry, entry)


@pytest.mark.parametrize(("entry", "advice"), cases(*WRONG, *NO_PATTERN))
def test_so_is_a_pattern(entry: str, advice: str) -> None:
    assert advice in refusal(OriginPattern, entry)


@given(
    st.sampled_from([entry for entry, *_ in (*WRONG, *NO_ENTRY, *NO_PATTERN)])
    | st.builds(
        "{}{}{}{}{}".format,
        st.sampled_from(("https://", "HTTP://", "http://", "")),
        st.sampled_from(("", "*.", "user@", "a b@")),
        st.sampled_from(("example.com", "Straße.example", "例え。テスト", "[2001:DB8::1]", "192.0.2.7", "localhost")),
        st.sampled_from(("", ":80", ":443", ":3000")),
        st.sampled_from(("", "/", "/path", "?q=1")),
    )
)
def test_whoever_does_what_it_says_gets_there(entry: str) -> None:
    told = [entry]
    while found := said(told[-1]):
        advice = re.search(r": write (\S+)$", found)
        if advice is None:
            return  # it says nothing that could be copied
        assert advice[1] not in told
        told.append(advice[1])


def said(entry: str) -> str:
    try:
        check_origin_pattern(entry)
    except PydanticCustomError as error:
        return error.message()
    return ""


@pytest.mark.parametrize("entry", ["https://*.example.com", "http://*.localhost:3000", "https://*.co.uk"])
def test_a_pattern_may_stand_where_patterns_are_taken(entry: str) -> None:
    assert TypeAdapter(OriginPattern).validate_python(entry) == entry
