"""The `proxies` section: what it accepts, and what it says about the rest."""

from typing import Any

import pytest
from pydantic import ValidationError

from secguard.policy import Profile
from secguard.proxies import ProxiesSettings


@pytest.mark.parametrize(
    ("entry", "kept"),
    [
        pytest.param("10.0.0.0/8", "10.0.0.0/8", id="network"),
        pytest.param("192.0.2.7", "192.0.2.7", id="address"),
        pytest.param("192.0.2.7/32", "192.0.2.7", id="network of one address"),
        pytest.param("2001:DB8:0::/32", "2001:db8::/32", id="IPv6 network"),
        pytest.param("::1", "::1", id="IPv6 address"),
        pytest.param("::ffff:10.0.0.1", "10.0.0.1", id="IPv4-mapped address"),
        pytest.param("::ffff:10.0.0.0/104", "10.0.0.0/8", id="IPv4-mapped network"),
        pytest.param("::/1", "::/1", id="network that holds the mapped ones and more"),
        pytest.param("unix", "unix", id="unix sockets"),
    ],
)
def test_entry_is_kept_in_one_spelling(entry: str, kept: str) -> None:
    assert ProxiesSettings(trusted=[entry]).trusted == (kept,)


@pytest.mark.parametrize(
    ("fields", "code", "advice"),
    [
        pytest.param(
            {"trusted": ["10.0.0.1/8"]},
            "cidr-host-bits",
            "write 10.0.0.0/8 for the network, or 10.0.0.1",
            id="host bits",
        ),
        pytest.param({"trusted": ["2001:db8::1/32"]}, "cidr-host-bits", "2001:db8::/32", id="host bits of IPv6"),
        pytest.param({"trusted": ["10.0.0.0/33"]}, "cidr-malformed", "like 10.0.0.0/8", id="overlong prefix"),
        pytest.param({"trusted": ["::/129"]}, "cidr-malformed", "like 10.0.0.0/8", id="overlong prefix of IPv6"),
        pytest.param({"trusted": ["10.0.0.0/255.0.0.0"]}, "cidr-malformed", "like 10.0.0.0/8", id="netmask"),
        pytest.param({"trusted": ["10.0.0.0/0.0.0.255"]}, "cidr-malformed", "like 10.0.0.0/8", id="hostmask"),
        pytest.param({"trusted": ["10.0.0.0/08"]}, "cidr-malformed", "like 10.0.0.0/8", id="leading zero"),
        pytest.param({"trusted": ["10.0.0.0/"]}, "cidr-malformed", "like 10.0.0.0/8", id="empty prefix"),
        pytest.param({"trusted": ["10.0.0.0/8/8"]}, "cidr-malformed", "like 10.0.0.0/8", id="two prefixes"),
        pytest.param({"trusted": ["10.0.0"]}, "cidr-malformed", "like 10.0.0.0/8", id="three octets"),
        pytest.param({"trusted": ["10.0.0.256"]}, "cidr-malformed", "like 10.0.0.0/8", id="octet out of range"),
        pytest.param({"trusted": ["10.0.0.1:80"]}, "cidr-malformed", "like 10.0.0.0/8", id="port"),
        pytest.param({"trusted": ["[::1]"]}, "cidr-malformed", "like 10.0.0.0/8", id="brackets"),
        pytest.param({"trusted": ["fe80::1%eth0"]}, "cidr-malformed", "like 10.0.0.0/8", id="zone id"),
        pytest.param({"trusted": ["proxy.internal"]}, "cidr-malformed", "like 10.0.0.0/8", id="name"),
        pytest.param({"trusted": [""]}, "cidr-malformed", "like 10.0.0.0/8", id="empty"),
        pytest.param({"trusted": ["10.0.0.1", "10.0.0.1/32"]}, "cidr-twice", "10.0.0.1 twice", id="address twice"),
        pytest.param({"trusted": ["unix", "unix"]}, "cidr-twice", "unix twice", id="unix twice"),
        pytest.param({"trusted": ["*"]}, "proxies-everybody", "name the proxies", id="asterisk, as uvicorn has it"),
        pytest.param({"trusted": ["0.0.0.0/0"]}, "proxies-everybody", "max_hops", id="every IPv4 address"),
        pytest.param({"trusted": ["::/0"]}, "proxies-everybody", "max_hops", id="every IPv6 address"),
        pytest.param(
            {"proto": "x-forwarded-proto"}, "proxies-nobody", "SECGUARD_PROXIES__TRUSTED", id="proto, untrusted"
        ),
        pytest.param({"host": "x-forwarded-host"}, "proxies-nobody", "SECGUARD_PROXIES__TRUSTED", id="host, untrusted"),
        pytest.param(
            {"trusted": ["unix"], "header": "forwarded", "proto": "x-forwarded-proto"},
            "proxies-mixed",
            "Write proto=forwarded",
            id="proto of the other kind",
        ),
        pytest.param(
            {"trusted": ["unix"], "host": "Forwarded"},
            "proxies-mixed",
            "Write host=x-forwarded-host",
            id="host of Forwarded",
        ),
        pytest.param(
            {"trusted": ["unix"], "proto": "x forwarded"}, "header-name", "'x forwarded'", id="no header name"
        ),
        pytest.param({"trusted": ["unix"], "proto": "x-förwarded"}, "header-name", "no header name", id="beyond ASCII"),
        pytest.param({"header": "x-real-ip"}, "literal_error", "'forwarded'", id="header that is no list"),
        pytest.param({"max_hops": 0}, "greater_than_equal", "1", id="no hops"),
        pytest.param({"max_hops": 65}, "less_than_equal", "64", id="too many hops"),
        pytest.param({"trust": ["unix"]}, "extra_forbidden", "", id="field that does not exist"),
    ],
)
def test_mistake_stops_the_start(fields: dict[str, Any], code: str, advice: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ProxiesSettings(**fields)
    (error,) = caught.value.errors()
    assert error["type"] == code
    assert advice in error["msg"]


def test_every_malformed_entry_is_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        ProxiesSettings(trusted=["10.0.0.1/8", "10.0.0.1", "x"])
    assert [error["type"] for error in caught.value.errors()] == ["cidr-host-bits", "cidr-malformed"]


def test_list_may_be_written_with_commas() -> None:
    assert ProxiesSettings(trusted="10.0.0.0/8, unix").trusted == ("10.0.0.0/8", "unix")


def test_header_names_have_no_letter_case() -> None:
    section = ProxiesSettings(trusted=["unix"], proto="X-Forwarded-Proto", host="X-Forwarded-Host")
    assert (section.proto, section.host) == ("x-forwarded-proto", "x-forwarded-host")


@pytest.mark.parametrize("profile", ["web", "strict", "api"])
def test_section_survives_its_own_dump(profile: Profile) -> None:
    section = ProxiesSettings(trusted=["0.0.0.0/0", "unix"], max_hops=2, proto="x-forwarded-proto")
    assert section.under(profile) == section


def test_section_is_frozen() -> None:
    with pytest.raises(ValidationError):
        ProxiesSettings().trusted = ("unix",)  # type: ignore[misc]
