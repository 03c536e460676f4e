"""Header bytes: the three ways to set a line, the list merge, and the grammars."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secguard._http import (
    HOSTS,
    Declared,
    Host,
    How,
    append,
    compile_lines,
    cookie_values,
    finder,
    is_field_name,
    is_field_value,
    join,
    keep,
    keep_private,
    override,
    parse_host,
    remove,
)
from secguard._memory import Memo
from tests.helpers import Line


def short(value: bytes) -> bool:
    return len(value) < 4


# Each row: what is declared, what the app sent, what leaves.
THREE_WAYS: dict[str, tuple[Declared, list[Line], list[Line]]] = {
    "override adds what is missing": (override(b"x-a", b"1"), [], [(b"x-a", b"1")]),
    "override replaces in any letter case": (override(b"x-a", b"1"), [(b"X-A", b"2")], [(b"x-a", b"1")]),
    "override replaces every line": (override(b"x-a", b"1"), [(b"X-A", b"2"), (b"x-a", b"3")], [(b"x-a", b"1")]),
    "override without a value removes": (override(b"x-a", None), [(b"X-a", b"2"), (b"x-b", b"3")], [(b"x-b", b"3")]),
    "override yields to what it was told to": (
        override(b"x-a", b"ours", unless=short),
        [(b"X-A", b"abc")],
        [(b"X-A", b"abc")],
    ),
    "override yields to one line only": (
        override(b"x-a", b"ours", unless=short),
        [(b"X-A", b"abc"), (b"x-b", b""), (b"x-a", b"de")],
        [(b"X-A", b"abc"), (b"x-b", b"")],
    ),
    "override replaces what it was not told to yield to": (
        override(b"x-a", b"ours", unless=short),
        [(b"x-a", b"abcd"), (b"x-a", b"e")],
        [(b"x-a", b"ours")],
    ),
    "override removes what it was not told to yield to": (
        override(b"x-a", None, unless=short),
        [(b"x-a", b"abcd")],
        [],
    ),
    "keep adds what is missing": (keep(b"x-a", b"1"), [(b"x-b", b"2")], [(b"x-b", b"2"), (b"x-a", b"1")]),
    "keep leaves the app's line where it stands": (
        keep(b"x-a", b"1"),
        [(b"X-A", b"2"), (b"x-b", b"3")],
        [(b"X-A", b"2"), (b"x-b", b"3")],
    ),
    "keep leaves only the first of several": (
        keep(b"x-a", b"1"),
        [(b"x-b", b"0"), (b"X-A", b"2"), (b"x-a", b"3"), (b"X-a", b"2")],
        [(b"x-b", b"0"), (b"X-A", b"2")],
    ),
    "keep adds nothing without a value": (keep(b"x-a", None), [], []),
    "keep without a value makes lines single": (keep(b"x-a", None), [(b"x-a", b"2"), (b"X-A", b"3")], [(b"x-a", b"2")]),
    "keep replaces what it was told not to yield to": (
        keep(b"x-a", b"ours", only=short),
        [(b"X-A", b"abcd")],
        [(b"x-a", b"ours")],
    ),
    "join adds what is missing": (join(b"vary", b"Origin"), [], [(b"vary", b"Origin")]),
    "join adds elements behind the app's": (
        join(b"vary", b"Origin"),
        [(b"Vary", b"Accept"), (b"x-b", b"1")],
        [(b"vary", b"Accept, Origin"), (b"x-b", b"1")],
    ),
    "join merges several lines into the first": (
        join(b"vary", b"Origin"),
        [(b"x-b", b"1"), (b"Vary", b"Accept"), (b"x-c", b"2"), (b"VARY", b"Cookie")],
        [(b"x-b", b"1"), (b"vary", b"Accept, Cookie, Origin"), (b"x-c", b"2")],
    ),
    "join adds no element twice, in any letter case": (
        join(b"vary", b"origin, Cookie"),
        [(b"vary", b"Accept, Origin ,,\taccept")],
        [(b"vary", b"Accept, Origin, Cookie")],
    ),
    "join leaves a star alone": (join(b"vary", b"Origin"), [(b"Vary", b"*")], [(b"vary", b"*")]),
    "join of a star says it all": (join(b"vary", b"*"), [(b"vary", b"Accept")], [(b"vary", b"*")]),
    "a star is an element like any other elsewhere": (
        join(b"access-control-expose-headers", b"*"),
        [(b"access-control-expose-headers", b"X-A")],
        [(b"access-control-expose-headers", b"X-A, *")],
    ),
    "join fills an empty line": (join(b"vary", b"Origin"), [(b"vary", b" ,")], [(b"vary", b"Origin")]),
}


@pytest.mark.parametrize(("declared", "sent", "expected"), THREE_WAYS.values(), ids=THREE_WAYS)
def test_ways_to_set_a_line(declared: Declared, sent: list[Line], expected: list[Line]) -> None:
    merge = compile_lines([declared])
    assert merge(sent) == merge(tuple(sent)) == merge(iter(sent)) == expected
    declared.apply(sent)
    assert sent == expected


def test_a_line_without_value_joins_nothing() -> None:
    lines = [(b"vary", b"Accept, Accept")]
    Declared(b"vary", None, How.APPEND).apply(lines)
    assert lines == [(b"vary", b"Accept")]


NAMES = st.sampled_from([b"vary", b"x-a", b"x-b", b"set-cookie", b"cache-control"])
CASED = st.builds(lambda name, case: case(name), NAMES, st.sampled_from([bytes.lower, bytes.upper, bytes.title]))
VALUES = st.sampled_from([b"", b"a", b"A", b"b, a", b"*", b"long enough"])
LINES = st.lists(st.tuples(CASED, VALUES), max_size=7)
DECLARED = st.one_of(
    st.builds(override, NAMES, st.none() | VALUES, unless=st.none() | st.just(short)),
    st.builds(keep, NAMES, st.none() | VALUES, only=st.none() | st.just(short)),
    st.builds(join, NAMES, VALUES),
)


def one_after_the_other(declared: list[Declared], lines: list[Line]) -> list[Line]:
    for line in declared:
        line.apply(lines)
    return lines


@given(st.lists(DECLARED, max_size=5), LINES)
@example([keep(b"x-a", None), override(b"x-a", b"1")], [])
@example([override(b"x-a", b"1"), override(b"x-a", None)], [(b"X-B", b"")])
def test_compiled_lines_equal_lines_set_one_after_the_other(declared: list[Declared], lines: list[Line]) -> None:
    assert compile_lines(declared)(lines) == one_after_the_other(declared, list(lines))


@given(st.lists(DECLARED, max_size=5), LINES)
def test_a_declared_name_stands_at_most_once_and_others_stay(declared: list[Declared], lines: list[Line]) -> None:
    sent = compile_lines(declared)(lines)
    owned = {line.name for line in declared}
    for name in owned:
        assert sum(own.lower() == name for own, _ in sent) <= 1
    assert [line for line in sent if line[0].lower() not in owned] == [
        line for line in lines if line[0].lower() not in owned
    ]


@given(st.lists(DECLARED, max_size=5), LINES)
def test_each_response_gets_a_fresh_list(declared: list[Declared], lines: list[Line]) -> None:
    merge = compile_lines(declared)
    given_, first = list(lines), merge(lines)
    expected = list(first)
    first += [(b"x-leak", b"1")]
    assert merge(lines) == expected
    assert lines == given_


TOKENS = st.lists(st.sampled_from([b"Accept", b"accept", b"Origin", b"Cookie", b"X-A"]), max_size=6)


@given(LINES, TOKENS, TOKENS)
def test_vary_merges_once_and_keeps_the_order(lines: list[Line], theirs: list[bytes], ours: list[bytes]) -> None:
    merged = [*lines, (b"Vary", b",".join(theirs))]
    append(merged, b"vary", b", ".join(ours))
    again = list(merged)
    append(again, b"vary", b", ".join(ours))
    assert again == merged
    (value,) = [value for name, value in merged if name.lower() == b"vary"]
    elements = value.lower().split(b", ")
    assert len(elements) == len(set(elements))
    if b"*" not in elements:
        before = b",".join(own for name, own in lines if name.lower() == b"vary").split(b",")
        told = [element.strip().lower() for element in (*before, *theirs, *ours) if element.strip()]
        assert elements == (list(dict.fromkeys(told)) or [b""])


def test_remove_takes_every_letter_case() -> None:
    lines = [(b"Server", b"a"), (b"x-server", b"b"), (b"SERVER", b"c"), (b"server", b"d")]
    remove(lines, b"server")
    assert lines == [(b"x-server", b"b")]


FIELD_NAMES = {
    b"x-a": True,
    b"X_a.1!#$%&'*+^`|~": True,
    b"": False,
    b"x a": False,
    b"x:a": False,
    b"x-a\n": False,
    b"x-a\r\n": False,
    "x-ä".encode(): False,
    b"(x)": False,
}


@pytest.mark.parametrize(("name", "valid"), FIELD_NAMES.items())
def test_field_names_are_tokens(name: bytes, valid: bool) -> None:
    assert is_field_name(name) is valid


FIELD_VALUES = {
    b"a": True,
    b"a b\tc": True,
    b'max-age=0; x="y"': True,
    b"\xe4": True,
    b"": False,
    b" a": False,
    b"a ": False,
    b"a\t": False,
    b"a\nb": False,
    b"a\r\nx-b: c": False,
    b"a\x00": False,
    b"a\x7fb": False,
    b"a\n": False,
}


@pytest.mark.parametrize(("value", "valid"), FIELD_VALUES.items())
def test_field_values_have_no_control_characters_and_no_outer_blanks(value: bytes, valid: bool) -> None:
    assert is_field_value(value) is valid


HOST_VALUES: dict[bytes, Host | None] = {
    b"example.com": Host("example.com", None),
    b"EXAMPLE.com": Host("example.com", None),
    b"example.com.": Host("example.com", None),
    b"example.com:8443": Host("example.com", 8443),
    b"example.com.:443": Host("example.com", 443),
    b"example.com:00080": Host("example.com", 80),
    b"my_service-1": Host("my_service-1", None),
    b"127.0.0.1:8000": Host("127.0.0.1", 8000),
    b"[::1]": Host("[::1]", None),
    b"[2001:DB8:0:0::1]:443": Host("[2001:db8::1]", 443),
    b"[::ffff:192.0.2.1]": Host(f"[{IPv6Address('::ffff:192.0.2.1')}]", None),

    b"": None,
    b".": None,
    b".example.com": None,
    b"example..com": None,
    b"-example.com": None,
    b"example.com:": None,
    b"example.com:0": None,
    b"example.com:65536": None,
    b"example.com:123456": None,
    b"example.com:8443:1": None,
    b"example.com:+80": None,
    b"example.com:\xd9\xa1": None,
    b"a:b": None,
    b":80": None,
    b"user@example.com": None,
    b"example.com/": None,
    b"good/evil?@x:99": None,
    b"example.com?x": None,
    b"example.com#x": None,
    b"example.com\\x": None,
    b"example.com, evil.example": None,
    b"example.com evil": None,
    b" example.com": None,
    b"example.com\n": None,
    b"example.com\x00": None,
    b"exa%6dple.com": None,
    "exämple.com".encode(): None,
    b"::1": None,
    b"[::1": None,
    b"[]": None,
    b"[::1%25eth0]": None,
    b"[1.2.3.4]": None,
    b"[:::]": None,
    b"[::1]x": None,
    b"[::1].com": None,
    b"*": None,
    b"*.example.com": None,
}  # fmt: skip


@pytest.mark.parametrize(("value", "host"), HOST_VALUES.items(), ids=repr)
def test_host_is_a_name_or_an_address_and_a_port(value: bytes, host: Host | None) -> None:
    assert parse_host(value) == host


def test_host_names_are_at_most_253_bytes_long() -> None:
    longest = ".".join(["a" * 63] * 3 + ["a" * 61])
    assert parse_host(f"{longest}.:65535".encode()) == Host(longest, 65535)
    assert parse_host(f"{longest}a".encode()) is None
    assert parse_host(b"a" * 1_000_000) is None


@given(st.from_regex(rb"[a-z0-9]{1,9}(\.[a-z0-9]{1,9}){0,3}\.?(:[1-9][0-9]{0,3})?", fullmatch=True))
def test_a_host_is_read_the_same_from_what_it_writes(value: bytes) -> None:
    host = parse_host(value)
    assert host is not None
    assert parse_host(str(host).encode()) == host


@given(st.binary(max_size=40) | st.text("a.:[]@/%0-_ \n", max_size=12).map(str.encode))
def test_no_bytes_make_a_host_that_a_url_would_read_otherwise(value: bytes) -> None:
    host = parse_host(value)
    if host is not None:
        assert not set(str(host)) & set("@/\\?#% ,\r\n\t\x00")
        assert str(host).isascii()
        assert host.name == host.name.lower()


PRIVATE: dict[str, tuple[list[bytes], bytes]] = {
    "where the app says nothing, nobody keeps it": ([], b"no-store"),
    "public becomes private": ([b"public, max-age=60"], b"max-age=60, private"),
    "Public in any letter case": ([b"PUBLIC"], b"private"),
    "an age for shared caches goes": ([b"s-maxage=60, max-age=5"], b"max-age=5, private"),
    "what does not say is made private": ([b"max-age=60"], b"max-age=60, private"),
    "no-cache may be kept by anybody": ([b"no-cache"], b"no-cache, private"),
    "private stays as it is": ([b"Private,max-age=60"], b"Private,max-age=60"),
    "no-store stays as it is": ([b"no-store"], b"no-store"),
    "public beside private goes": ([b"public, private"], b"private"),
    "private fields are not a private response": ([b'private="set-cookie"'], b'private="set-cookie", private'),
    "some caches ignore no-store beside must-understand": (
        [b"must-understand, no-store"],
        b"must-understand, no-store, private",
    ),
    "several lines are one": ([b"public", b"max-age=1"], b"max-age=1, private"),
    "an empty line": ([b""], b"private"),
}


@pytest.mark.parametrize(("values", "kept"), PRIVATE.values(), ids=PRIVATE)
@pytest.mark.parametrize("name", [b"cache-control", b"Cache-Control"])
def test_no_shared_cache_keeps_a_private_response(name: bytes, values: list[bytes], kept: bytes) -> None:
    lines = [(b"x-a", b"1"), *((name, value) for value in values), (b"x-b", b"2")]
    keep_private(lines)
    assert [value for own, value in lines if own.lower() == b"cache-control"] == [kept]
    assert [line for line in lines if line[0].startswith(b"x-")] == [(b"x-a", b"1"), (b"x-b", b"2")]


@pytest.mark.parametrize(
    ("lines", "held"),
    [
        ([], False),
        ([(b"content-type", b"x"), (b"x-b", b"1")], False),
        ([(b"content-type", b"x"), (b"X-A", b"1")], True),
        ([(b"x-a", b""), (b"content-type", b"x")], True),
        ([(b"Content-Length", b"1")], True),
        ([(b"content-length", b"1")], True),
    ],
)
def test_a_name_is_found_in_any_letter_case(lines: list[Line], held: bool) -> None:
    assert finder(b"x-a", b"content-length")(lines) is held


# --- cookies ---


@pytest.mark.parametrize(
    ("lines", "values"),
    [
        ([], []),
        ([b"a=1"], [b"1"]),
        ([b"b=2; a=1; c=3"], [b"1"]),
        ([b"a=1;a=2", b"a=3"], [b"1", b"2", b"3"]),
        ([b" a\t= 1 "], [b"1"]),
        ([b"a=1=2"], [b"1=2"]),
        ([b"a="], [b""]),
        ([b"a"], []),
        ([b"A=1; aa=2; =a"], []),
        ([b"\xa0a=1; a\x0b=2; \x0ca=3; \na=4"], []),
        ([b'a="1"'], [b'"1"']),
    ],
)
def test_cookies_are_read_as_bytes(lines: list[bytes], values: list[bytes]) -> None:
    assert cookie_values(lines, b"a") == values


# --- Memo ---


def test_memo_finds_once_and_forgets_all_when_full() -> None:
    searched: list[bytes] = []

    def find(value: bytes) -> int:
        searched.append(value)
        return len(value)

    memo = Memo(find, most=2, longest=3)
    assert [memo[b"a"], memo[b"bb"], memo[b"a"], memo[b"bb"]] == [1, 2, 1, 2]
    assert searched == [b"a", b"bb"]
    assert memo[b"ccc"] == 3
    assert list(memo) == [b"ccc"]


def test_memo_does_not_remember_what_is_too_long() -> None:
    memo = Memo[bytes, int](len, most=2, longest=3)
    assert [memo[b"long"], memo[b"long"]] == [4, 4]
    assert list(memo) == []


def test_flood_of_hosts_leaves_a_bounded_memory() -> None:
    for number in range(3000):
        assert parse_host(b"%d.example.com" % number) is not None
        assert parse_host(b"a" * 64_000 + b"%d" % number) is None
    assert len(HOSTS) <= 256
    assert max(map(len, HOSTS)) < 300
