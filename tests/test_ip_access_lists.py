"""A list that code changes while the app runs: it holds what the standard library says it does."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from threading import Thread

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from secguard._networks import Address, Network, check_network
from secguard.ip_access import NetworkList

ADDRESSES: list[Address] = [
    ip_address(text)
    for text in ("0.0.0.0", "10.0.0.0", "10.0.0.1", "10.0.0.7", "10.255.255.255", "255.255.255.255", "::", "::1")
] + [ip_address(text) for text in ("2001:db8::", "2001:db8::1", "2001:db8:0:1::", "::ffff:0:0", "ffff::")]
NETWORKS = st.sampled_from(
    "0.0.0.0/0 10.0.0.0/8 10.0.0.0/29 10.0.0.1 10.0.0.0/31 255.255.255.255 ::/0 ::1 ::/127 2001:db8::/32 "
    "2001:db8::/64 2001:db8::1 ::ffff:10.0.0.0/104 ::ffff:10.0.0.1".split()
)


class Model(RuleBasedStateMachine):
    """The list, beside a plain set of networks."""

    def __init__(self) -> None:
        super().__init__()
        self.live = NetworkList()
        self.plain: set[Network] = set()

    @rule(networks=st.lists(NETWORKS, max_size=3))
    def add(self, networks: list[str]) -> None:
        self.live.add(*networks)
        self.plain |= {ip_network(check_network(network)) for network in networks}

    @rule(networks=st.lists(NETWORKS, max_size=3))
    def discard(self, networks: list[str]) -> None:
        self.live.discard(*networks)
        self.plain -= {ip_network(check_network(network)) for network in networks}

    @rule(networks=st.lists(NETWORKS, max_size=3))
    def replace(self, networks: list[str]) -> None:
        self.live.replace(networks)
        self.plain = {ip_network(check_network(network)) for network in networks}

    @invariant()
    def holds_the_same(self) -> None:
        for address in ADDRESSES:
            assert (address in self.live) is any(address in network for network in self.plain), address
        assert {ip_network(network) for network in self.live} == self.plain
        assert len(self.live) == len(self.plain)


TestModel = Model.TestCase


def test_entries_are_what_code_has_at_hand() -> None:
    live = NetworkList(["10.0.0.0/8", ip_address("192.0.2.7"), ip_network("2001:db8::/32")])
    assert sorted(live) == ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]
    assert repr(live) == "<NetworkList of 3>"


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "office", "", "fe80::1%eth0"])
def test_a_mistake_changes_nothing(entry: str) -> None:
    live = NetworkList(["10.0.0.0/8"])
    with pytest.raises(ValueError, match="write"):
        live.add("192.0.2.7", entry)
    with pytest.raises(ValueError, match="write"):
        live.discard("10.0.0.0/8", entry)
    with pytest.raises(ValueError, match="write"):
        live.replace([entry])
    assert list(live) == ["10.0.0.0/8"]


def test_threads_that_change_it_at_once_lose_nothing() -> None:
    live = NetworkList(["10.0.0.0/8"])
    inside = ip_address("10.0.0.1")
    missed = []

    def change(number: int) -> None:
        for at in range(300):
            network = f"192.0.{number}.0/{24 + at % 8}"
            live.add(network, f"2001:db8:{number}:{at:x}::/64")
            live.discard(network)
            if inside not in live:
                missed.append(at)

    threads = [Thread(target=change, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert missed == []
    assert len(live) == 1 + 4 * 300
