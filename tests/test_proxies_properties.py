"""What holds for every header that anybody could send."""

import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.policy import Context, Peer, Resolver, parse_address
from secguard.proxies import ProxiesSettings
from secguard.proxies.grammar import last_elements, last_items, read_element, read_node
from tests.helpers import exchange

OURS = ["10.0.0.0/8", "2001:db8:1::/48"]
QUIET = Context(sinks=()).notice
X_FORWARDED = ProxiesSettings(trusted=OURS, proto="x-forwarded-proto", host="x-forwarded-host", max_hops=64).resolver(
    QUIET
)
FORWARDED = ProxiesSettings(
    trusted=OURS, header="forwarded", proto="forwarded", host="forwarded", max_hops=64
).resolver(QUIET)


def resolve(resolver: Resolver, name: bytes, *lines: str, proto: str | None = None) -> Peer:
    headers = [(name, line.encode("latin-1")) for line in lines]
    headers += [(b"x-forwarded-proto", proto.encode("latin-1"))] if proto is not None else []
    return exchange(headers=headers, client=("10.0.0.1", 40000), resolver=resolver, scheme="http").identity


def x(*lines: str, proto: str | None = None) -> Peer:
    return resolve(X_FORWARDED, b"x-forwarded-for", *lines, proto=proto)


def f(*lines: str) -> Peer:
    return resolve(FORWARDED, b"forwarded", *lines)


# What HTTP lets through: RFC 9110 section 5.5. A quarter of it is what matters to the parsers.
bytes_of_a_value = st.text(
    st.one_of(st.sampled_from(' \t",;=:[]%\\_.'), st.characters(max_codepoint=255, exclude_categories=["Cc"]))
)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
proxies = st.integers(0, 2**24 - 1).map(lambda low: str(IPv4Address("10.0.0.0") + low))
strangers = addresses.filter(lambda text: not _is_ours(text))


def _is_ours(text: str) -> bool:
    address = parse_address(text)
    return address is not None and (
        (isinstance(address, IPv4Address) and address.packed[0] == 10)
        or (isinstance(address, IPv6Address) and address.packed[:6] == IPv6Address("2001:db8:1::").packed[:6])
    )


@st.composite
def entries(draw: st.DrawFn, of: st.SearchStrategy[str]) -> str:
    """An entry of X-Forwarded-For, in any of its spellings, for an address of the given kind."""
    address = draw(of)
    port = draw(st.sampled_from(["", ":1", ":65535"]))
    if ":" not in address:
        return address + port
    zone = draw(st.sampled_from(["", "%eth0", "%25"]))
    return f"[{address}{zone}]{port}" if port else draw(st.sampled_from([f"{address}{zone}", f"[{address}{zone}]"]))


@st.composite
def elements(draw: st.DrawFn, of: st.SearchStrategy[str]) -> str:
    """An element of Forwarded for an address of the given kind, well-formed (RFC 7239 section 4)."""
    address = draw(of)
    port = draw(st.sampled_from(["", ":1", ":65535", ":_p"]))
    node = f"{address}{port}" if ":" not in address else f"[{address}]{port}"
    value = f'"{node}"' if ":" in node or draw(st.booleans()) else node
    pairs = [draw(st.sampled_from(["for", "For", "FOR"])) + "=" + value]
    pairs += draw(st.lists(st.sampled_from(['by="_a,b"', 'ext="\\";for=1.1.1.1, for=2.2.2.2"', "by=x"]), max_size=1))
    pairs += draw(st.sampled_from([[], ["proto=https"], ["proto=http"]]))
    return ";".join(draw(st.permutations(pairs)))


# Nothing raises


@given(st.lists(bytes_of_a_value, max_size=4), bytes_of_a_value, bytes_of_a_value)
def test_no_header_raises(lines: list[str], proto: str, host: str) -> None:
    x(*lines, proto=proto)
    f(*lines)
    f(f'for="{host}";proto="{proto}";host="{host}"')
    headers = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-host", host.encode("latin-1"))]
    assert exchange(headers=headers, client=("10.0.0.1", 5), resolver=X_FORWARDED).identity.host is not None


@given(bytes_of_a_value)
def test_no_parser_raises_or_invents(text: str) -> None:
    node = read_node(text)
    assert node is None or node[1] in text
    assert all(item in text for item in last_items(text))
    assert all(element is None or element in text for element in last_elements(text))
    assert all(name in text.lower() for name in read_element(text))


@given(bytes_of_a_value)
def test_elements_are_parts_of_the_whole(text: str) -> None:
    parts = list(last_elements(text))
    if None not in parts:
        stripped = [part.strip(" \t") for part in ",".join(part or "" for part in reversed(parts)).split(",")]
        assert stripped == [part.strip(" \t") for part in text.split(",")]
    assert None not in parts[:-1]


# Nothing is invented


@given(st.lists(st.one_of(entries(addresses), bytes_of_a_value), max_size=5))
def test_client_stands_in_the_header_or_is_the_socket(items: list[str]) -> None:
    header = ", ".join(items)
    spelled = [parse_address(text) for item in header.split(",") for text in _candidates(item)]
    assert x(header).client in [*spelled, parse_address("10.0.0.1")]


def _candidates(item: str) -> list[str]:
    item = item.strip(" \t")
    return [item, item.rpartition(":")[0], item.lstrip("[").partition("]")[0]]


@given(st.lists(entries(addresses), max_size=6))
def test_client_is_trusted_only_where_all_are(items: list[str]) -> None:
    client = str(x(", ".join(items)).client)
    if _is_ours(client):
        assert all(_is_ours(str(node[0])) for item in items if (node := read_node(item)))


# The left does not matter


@given(bytes_of_a_value, entries(strangers), st.lists(entries(proxies), max_size=3), st.sampled_from(["http", "https"]))
def test_nothing_to_the_left_of_the_client_matters_to_x_forwarded_for(
    left: str, client: str, chain: list[str], proto: str
) -> None:
    own = [client, *chain]
    schemes = [proto, *["http"] * len(chain)]
    expected = x(", ".join(own), proto=", ".join(schemes))
    assert expected.client == (read_node(client) or [None])[0]
    assert expected.secure is (proto == "https")
    assert x(", ".join([left, *own]), proto=", ".join([left, *schemes])) == expected
    assert x(left, *own, proto=", ".join([left, *schemes])) == expected


@given(bytes_of_a_value, elements(strangers), st.lists(elements(proxies), max_size=3))
def test_nothing_to_the_left_of_the_client_matters_to_forwarded(left: str, client: str, chain: list[str]) -> None:
    expected = f(", ".join([client, *chain]))
    assert expected.client == (read_node(read_element(client)["for"]) or [None])[0]
    assert expected.secure is ("proto=https" in client)
    assert f(", ".join([left, client, *chain])) == expected
    assert f(left, client, *chain) == expected


# Lines are one list


@given(st.lists(st.one_of(entries(addresses), bytes_of_a_value), min_size=1, max_size=4))
def test_lines_are_one_list(lines: list[str]) -> None:
    for read in (x, f):
        assert read(*lines) == read(",".join(lines))
    assert f(*(f"for={line}" for line in lines)) == f(",".join(f"for={line}" for line in lines))


@given(elements(addresses))
def test_well_formed_element_is_read(element: str) -> None:
    pairs = read_element(element)
    assert read_node(pairs["for"]) is not None
    assert list(last_elements(element)) == [element]


# Time

KIB = 1024
HOSTILE: dict[str, Callable[[int], str]] = {
    "commas": lambda size: "," * size,
    "trusted hops": lambda size: "10.0.0.2," * (size // 9),
    "one zone id": lambda size: "fe80::1%" + "a" * size,
    "colons": lambda size: ":" * size,
    "brackets": lambda size: "[" * size,
    "quotes": lambda size: '"' * size,
    "backslashes": lambda size: "\\" * size,
    "escaped quotes": lambda size: '\\"' * (size // 2),
    "strings": lambda size: 'a="";' * (size // 5),
    "a string of escapes": lambda size: 'for="' + "\\a" * (size // 2) + '"',
    "a string without an end": lambda size: 'for="' + "a" * size,
    "blanks": lambda size: " " * size + "x",
    "blanks around a pair": lambda size: "for=" + "a" + " " * size + "x",
    "a name": lambda size: "a" * size,
    "semicolons": lambda size: ";" * size,
    "pairs": lambda size: ";".join(f"a{number}=b" for number in range(size // 8)),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
def test_time_is_linear_in_the_header(
    header: Literal["x-forwarded-for", "forwarded"], make: Callable[[int], str]
) -> None:
    """64 KiB cost at most a few times what 16 KiB cost four times over: quadratic would be sixteen times as much."""
    read = x if header == "x-forwarded-for" else f

    def cost(size: int) -> float:
        text = make(size)
        spent = []
        for _ in range(5):
            start = time.perf_counter()
            read(text)
            spent.append(time.perf_counter() - start)
        return min(spent)

    cost(KIB)
    assert cost(64 * KIB) < max(4 * 2.5 * cost(16 * KIB), 0.002)


@settings(max_examples=20)
@given(st.integers(1, 64))
def test_no_more_than_max_hops_are_read(hops: int) -> None:
    resolver = ProxiesSettings(trusted=OURS, max_hops=hops).resolver(QUIET)
    chain = ["203.0.113.9", *(f"10.0.0.{number}" for number in reversed(range(2, 80)))]
    assert resolve(resolver, b"x-forwarded-for", ", ".join(chain)).client == parse_address(f"10.0.0.{hops + 1}")
