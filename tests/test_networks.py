"""Networks: their grammar, and sets of them that hold what the standard library says they hold."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from secguard._networks import Address, Network, Networks, NetworksError, check_network, check_once
from secguard.policy import parse_address
from tests.benchmarks.networks import CANDIDATES, Candidate, Measured, alone, write_networks
from tests.helpers import PATIENCE

# --- the grammar ---

KEPT = {
    "network": ("10.0.0.0/8", "10.0.0.0/8"),
    "address": ("192.0.2.7", "192.0.2.7"),
    "network of one address": ("192.0.2.7/32", "192.0.2.7"),
    "everything": ("0.0.0.0/0", "0.0.0.0/0"),
    "IPv6 network": ("2001:DB8:0::/32", "2001:db8::/32"),
    "IPv6 network of one address": ("2001:db8::1/128", "2001:db8::1"),
    "everything of IPv6": ("::/0", "::/0"),
    "IPv4-mapped address": ("::ffff:10.0.0.1", "10.0.0.1"),
    "IPv4-mapped address in hexadecimal": ("::FFFF:a00:1", "10.0.0.1"),
    "IPv4-mapped network": ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
    "all that is mapped": ("::ffff:0:0/96", "0.0.0.0/0"),
    "network that holds the mapped ones and more": ("::fffe:0:0/95", "::fffe:0:0/95"),
    "6to4 stands for itself": ("2002:a00:1::/48", "2002:a00:1::/48"),
    "NAT64 stands for itself": ("64:ff9b::a00:1", "64:ff9b::a00:1"),
}
MALFORMED = {
    "nothing": "",
    "a name": "office.example",
    "three octets": "10.0.0",
    "an octet out of range": "10.0.0.256",
    "an octet with a leading zero, which some read as octal": "10.0.0.010",
    "an octet in hexadecimal": "0x0a.0.0.1",
    "one number": "167772161",
    "digits of another script": "\N{ARABIC-INDIC DIGIT ONE}0.0.0.1",
    "overlong prefix": "10.0.0.0/33",
    "overlong prefix of IPv6": "::/129",
    "prefix with a leading zero": "10.0.0.0/08",
    "prefix with a sign": "10.0.0.0/+8",
    "prefix with a blank": "10.0.0.0/ 8",
    "empty prefix": "10.0.0.0/",
    "two prefixes": "10.0.0.0/8/8",
    "netmask": "10.0.0.0/255.0.0.0",
    "hostmask": "10.0.0.0/0.255.255.255",
    "range": "10.0.0.0-10.0.0.9",
    "wildcard": "10.0.0.*",
    "port": "10.0.0.1:80",
    "brackets": "[::1]",
    "two gaps": "1::2::3",
    "nine groups": "1:2:3:4:5:6:7:8:9",
    "zone id": "fe80::1%eth0",
    "zone id on a network": "fe80::%eth0/64",
    "zone id of 50,000 characters": "fe80::1%" + "a" * 50_000,
    "NUL": "10.0.0.1\x00",
    "surrogate": "10.0.0.1\udcff",
}
HOST_BITS = {
    "host bits": ("10.0.0.1/8", "write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address"),
    "host bits of IPv6": ("2001:db8::1/32", "write 2001:db8::/32"),
    "host bits of a mapped network": ("::ffff:10.0.0.1/104", "write ::ffff:a00:0/104"),
    "host bits in front of the mapped part": ("::ffff:0:0/90", "write ::ffc0:0:0/90"),
}


@pytest.mark.parametrize(("entry", "kept"), KEPT.values(), ids=KEPT)
def test_entry_is_kept_in_one_spelling(entry: str, kept: str) -> None:
    assert check_network(entry) == kept
    assert check_network(kept) == kept


@pytest.mark.parametrize("entry", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_network_is_no_literal_that_never_matches(entry: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        check_network(entry)
    assert caught.value.type == "cidr-malformed"
    assert "write it like 10.0.0.0/8" in caught.value.message()
    assert len(caught.value.message()) < 200


@pytest.mark.parametrize(("entry", "advice"), HOST_BITS.values(), ids=HOST_BITS)
def test_host_bits_are_a_mistake_with_two_remedies(entry: str, advice: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        check_network(entry)
    assert caught.value.type == "cidr-host-bits"
    assert advice in caught.value.message()


def test_a_word_that_a_section_takes_too_is_named() -> None:
    with pytest.raises(PydanticCustomError, match=r"192\.0\.2\.7, unix or 2001"):
        check_network("x", also="unix")


def test_an_entry_that_stands_there_twice_is_a_mistake() -> None:
    check_once("allow", ["10.0.0.1", "10.0.0.2"])
    with pytest.raises(PydanticCustomError, match=r"allow names 10\.0\.0\.1 twice"):
        check_once("allow", ["10.0.0.1", "10.0.0.2", "10.0.0.1"])


# --- sets ---

_words = st.sampled_from((0, 1, 0xFFFF, 0x2001, 0x0DB8, 0x8000, 0x7FFF, 0xFFFE, 0x0A00)) | st.integers(0, 0xFFFF)
v4_values = st.tuples(_words, _words).map(lambda words: words[0] << 16 | words[1])
v6_values = st.lists(_words, min_size=8, max_size=8).map(
    lambda words: int.from_bytes(b"".join(word.to_bytes(2) for word in words))
)


def _v4(value: int, prefix: int) -> Network:
    return IPv4Network((value >> (32 - prefix) << (32 - prefix), prefix))


def _v6(value: int, prefix: int) -> Network:
    return IPv6Network((value >> (128 - prefix) << (128 - prefix), prefix))


networks = st.builds(_v4, v4_values, st.integers(0, 32)) | st.builds(_v6, v6_values, st.integers(0, 128))


def unmapped(network: Network) -> Network:
    return ip_network(check_network(str(network)))


def edges(network: Network) -> Iterator[Address]:
    """Yield the addresses where a network begins and ends, and those right outside it."""
    kind, most = (IPv4Address, 2**32) if network.version == 4 else (IPv6Address, 2**128)
    first, last = int(network.network_address), int(network.broadcast_address)
    yield from (kind(value) for value in (first - 1, first, last, last + 1) if 0 <= value < most)


@given(st.lists(networks, max_size=12), st.lists(v4_values, max_size=4), st.lists(v6_values, max_size=4))
@example([ip_network("::ffff:0:0/96"), ip_network("::/0")], [0], [0, 0xFFFF_0000_0000])
@example([ip_network("2001:db8::8/125"), ip_network("2001:db8::100/120"), ip_network("2001:db8::1")], [], [])
def test_a_set_holds_what_the_standard_library_says(held: list[Network], v4: list[int], v6: list[int]) -> None:
    made = Networks(map(str, held))
    plain = [unmapped(network) for network in held]
    asked = [address for network in plain for address in edges(network)]
    asked += [*map(IPv4Address, v4), *map(IPv6Address, v6)]
    for address in asked:
        expected = any(address in network for network in plain)
        assert (address in made) is expected, address
        assert (address in made) is expected, f"{address}, asked again"
    assert len(made) == len(held)


@given(
    st.text(st.sampled_from("0123456789abcdefF.:/%x -\x00\N{ARABIC-INDIC DIGIT ONE}"), max_size=24) | networks.map(str)
)
@example("::ffff:1.2.3.04")
@example("1:2:3:4:5:6:7::")
@example("::2:3:4:5:6:7:8")
@example("1.2.3.4/032")
@limits(max_examples=400)
def test_a_file_takes_what_the_grammar_takes_and_nothing_else(entry: str) -> None:
    assume(entry.strip())
    problem = problem_of(entry.strip())
    if problem:
        with pytest.raises(NetworksError) as caught:
            Networks([entry])
        assert str(caught.value) == f"line 1: {problem}"
    else:
        network = ip_network(check_network(entry.strip()))
        made = Networks([entry])
        assert [address in made for address in edges(network)] == [address in network for address in edges(network)]


def problem_of(entry: str) -> str:
    try:
        check_network(entry)
    except PydanticCustomError as error:
        return error.message()
    return ""


ASKED = {
    "IPv4": ("10.1.2.3", True),
    "first address of a network": ("10.0.0.0", True),
    "last address of a network": ("10.255.255.255", True),
    "right before a network": ("9.255.255.255", False),
    "right behind a network": ("11.0.0.0", False),
    "IPv4-mapped": ("::ffff:10.1.2.3", True),
    "IPv4-mapped in hexadecimal": ("::ffff:a01:203", True),
    "IPv4-compatible is not mapped": ("::10.1.2.3", False),
    "6to4 is not unwrapped": ("2002:a01:203::", False),
    "NAT64 is not unwrapped": ("64:ff9b::a01:203", False),
    "IPv6": ("2001:db8::9", True),
    "IPv6 in another spelling": ("2001:0DB8:0:0:0:0:0:9", True),
    "zone id": ("fe80::1%eth0", True),
    "zone id of 50,000 characters": ("fe80::1%" + "a" * 50_000, True),
    "address in a network that was written mapped": ("192.0.2.200", True),
    "next to an address": ("fe80::2", False),
}


@pytest.mark.parametrize(("address", "held"), ASKED.values(), ids=ASKED)
def test_an_address_is_asked_for_as_a_client_is(address: str, held: bool) -> None:
    made = Networks(["10.0.0.0/8", "2001:db8::/32", "fe80::1", "::ffff:192.0.2.128/121"])
    client = parse_address(address)
    assert client is not None
    assert (client in made) is held


def test_lines_have_comments_blanks_and_line_ends_of_any_kind() -> None:
    made = Networks(["# office\n", "\n", "  10.0.0.0/8\t# all of it\r\n", "10.0.0.0/8\n", "::1#loopback"])
    assert ip_address("10.0.0.1") in made
    assert ip_address("::1") in made
    assert len(made) == 3


def test_a_set_of_many_is_searched_like_one_of_few() -> None:
    few = {value * 7919 % 2**32 for value in range(40_000)}
    made = Networks([*(str(IPv4Address(value)) for value in few), *(f"2001:db8::{at:x}" for at in range(0, 20_000, 2))])
    assert [value for value in range(0, 2**32, 1_000_003) if (IPv4Address(value) in made) is not (value in few)] == []
    assert all(IPv4Address(value) in made for value in few)
    assert [at for at in range(20_000) if (IPv6Address(0x20010DB8 << 96 | at) in made) is not (at % 2 == 0)] == []


def test_an_empty_set_holds_nobody() -> None:
    assert ip_address("10.0.0.1") not in Networks()
    assert ip_address("::1") not in Networks(["# nobody"])


def test_all_mistakes_are_told_by_line() -> None:
    with pytest.raises(NetworksError) as caught:
        Networks(["10.0.0.0/8", "", "10.0.0.1/8", "office"])
    assert str(caught.value) == (
        "line 3: 10.0.0.1/8 has host bits: write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address; "
        "line 4: 'office' is no address and no network: write it like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"
    )


def test_of_a_file_that_is_something_else_the_first_mistakes_are_told() -> None:
    with pytest.raises(NetworksError) as caught:
        Networks(["<html>" + "x" * 100_000, *["<p>"] * 4999])
    assert str(caught.value).count("line ") == 10
    assert str(caught.value).endswith("; and 4990 more")
    assert len(str(caught.value)) < 2000


# --- what the benchmark compares ---


INSTALLED = {candidate.name: candidate for candidate in CANDIDATES if find_spec(candidate.module)}


@pytest.mark.parametrize("candidate", INSTALLED.values(), ids=INSTALLED)
def test_all_that_is_compared_gives_the_same_answers(candidate: Candidate, tmp_path: Path) -> None:
    path = tmp_path / "networks.txt"
    write_networks(path, 500)
    found = alone(candidate, path, PATIENCE * 6)
    assert isinstance(found, Measured), found
    assert found.wrong == 0


@pytest.mark.slow
def test_a_million_networks_are_right_and_small(tmp_path: Path) -> None:
    path = tmp_path / "networks.txt"
    write_networks(path, 1_000_000)
    found = alone(CANDIDATES[0], path, 600)
    assert isinstance(found, Measured), found
    assert found.wrong == 0
    assert found.peak < 200
