"""The client's address, scheme and host behind proxies: settings, and every deployment as a table."""

from collections.abc import Mapping
from typing import Any

import pytest

from secguard.policy import Address, Context, Direct, Peer, parse_address
from secguard.proxies import ProxiesSettings
from tests.helpers import EventLog, exchange

TRUSTED = ["10.0.0.0/8", "2001:db8:1::/48"]
PROXY = ("10.0.0.1", 40000)
CLIENT = "203.0.113.9"

X_FORWARDED = {"trusted": TRUSTED, "proto": "x-forwarded-proto", "host": "x-forwarded-host"}
FORWARDED = {"trusted": TRUSTED, "header": "forwarded", "proto": "forwarded", "host": "forwarded"}


def resolve(
    headers: Mapping[str, str | list[str]],
    client: tuple[str, Any] | None = PROXY,
    section: dict[str, Any] | None = None,
    log: EventLog | None = None,
    **more: Any,
) -> Peer:
    """Resolve a request to the host `internal:8000`; a list of values makes several lines."""
    lines = [
        (name.encode(), value.encode("latin-1"))
        for name, values in headers.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    context = Context(sinks=(log,) if log else ())
    resolver = ProxiesSettings(**(X_FORWARDED if section is None else section)).resolver(context.notice)
    more.setdefault("scheme", "http")
    return exchange(headers=lines, client=client, resolver=resolver, host=b"internal:8000", **more).identity


def address(text: str | None) -> Address | None:
    return parse_address(text)


# X-Forwarded-For


@pytest.mark.parametrize(
    ("written", "client"),
    [
        pytest.param([], "10.0.0.1", id="no header: the peer itself is the client"),
        pytest.param([""], "10.0.0.1", id="empty header"),
        pytest.param(["203.0.113.9"], CLIENT, id="one proxy"),
        pytest.param(["6.6.6.6, 203.0.113.9"], CLIENT, id="what the client wrote itself is not believed"),
        pytest.param(["10.0.0.7, 203.0.113.9"], CLIENT, id="nor is a trusted address that the client wrote"),
        pytest.param(["203.0.113.9, 10.0.0.2"], CLIENT, id="chain of two"),
        pytest.param(["6.6.6.6, 203.0.113.9, 10.0.0.3, 10.0.0.2"], CLIENT, id="chain of three"),
        pytest.param(["10.0.0.3, 10.0.0.2"], "10.0.0.3", id="all are trusted: the farthest one"),
        pytest.param(["6.6.6.6", "203.0.113.9"], CLIENT, id="HAProxy appends a line"),
        pytest.param(["6.6.6.6", "203.0.113.9", "10.0.0.2"], CLIENT, id="lines of a chain"),
        pytest.param(["6.6.6.6,203.0.113.9", "10.0.0.3 ,\t10.0.0.2"], CLIENT, id="lines and lists mixed"),
        pytest.param(["203.0.113.9:4711"], CLIENT, id="address with a port"),
        pytest.param(["[2001:db8::9]:4711"], "2001:db8::9", id="IPv6 with a port"),
        pytest.param(["[2001:db8::9]"], "2001:db8::9", id="IPv6 in brackets"),
        pytest.param(["2001:DB8:0::9"], "2001:db8::9", id="IPv6 alone"),
        pytest.param(["203.0.113.9, 2001:db8:1::2"], CLIENT, id="trusted IPv6 proxy"),
        pytest.param(["fe80::1%eth0"], "fe80::1", id="zone id is dropped"),
        pytest.param(["[fe80::1%eth0]:80"], "fe80::1", id="zone id in brackets"),
        pytest.param(["fe80::1%" + "a" * 50_000], "fe80::1", id="zone id of 50,000 characters"),
        pytest.param(["::ffff:203.0.113.9"], CLIENT, id="IPv4-mapped is IPv4"),
        pytest.param(["203.0.113.9, ::ffff:10.0.0.2"], CLIENT, id="IPv4-mapped proxy is trusted as IPv4"),
        pytest.param(["2002:a00:1::"], "2002:a00:1::", id="6to4 of a trusted address is not unwrapped"),
        pytest.param(["64:ff9b::a00:1"], "64:ff9b::a00:1", id="NAT64 of a trusted address is not unwrapped"),
        pytest.param(["2001:0:a00:1::"], "2001:0:a00:1::", id="Teredo is not unwrapped"),
        pytest.param(["6.6.6.6, unknown"], "10.0.0.1", id="unknown ends the walk at the last good hop"),
        pytest.param(["6.6.6.6, "], "10.0.0.1", id="empty entry ends the walk"),
        pytest.param(["6.6.6.6, unix:, 10.0.0.2"], "10.0.0.2", id="garbage behind a trusted hop"),
        pytest.param(["6.6.6.6 203.0.113.9"], "10.0.0.1", id="blank for a comma"),
        pytest.param(["203.0.113.009"], "10.0.0.1", id="leading zeros"),
        pytest.param(["203.0.113.9:"], "10.0.0.1", id="colon without a port"),
        pytest.param(["203.0.113.9:port"], "10.0.0.1", id="port that is no number"),
        pytest.param(["203.0.113.9:123456"], "10.0.0.1", id="port of six digits"),
        pytest.param(["[203.0.113.9]"], "10.0.0.1", id="IPv4 in brackets"),
        pytest.param(["[::1"], "10.0.0.1", id="open bracket"),
        pytest.param(["[::1]x"], "10.0.0.1", id="something behind the bracket"),
        pytest.param(["203.0.113.9%eth0"], "10.0.0.1", id="zone id on IPv4"),
        pytest.param(["203.0.113.9%::"], "10.0.0.1", id="zone id on IPv4, with colons"),
        pytest.param(['"203.0.113.9"'], "10.0.0.1", id="quotes"),
        pytest.param(["203.0.113.9\xa0"], "10.0.0.1", id="blank that is neither space nor tab"),
        pytest.param(["evil.test"], "10.0.0.1", id="name"),
        pytest.param(["10.0.0.0/8"], "10.0.0.1", id="network"),
        pytest.param(["3405803785"], "10.0.0.1", id="number"),
    ],
)
def test_client_is_the_first_address_from_the_right_that_is_not_trusted(written: list[str], client: str) -> None:
    assert resolve({"x-forwarded-for": written}).client == address(client)


def test_walk_ends_after_max_hops() -> None:
    chain = {"x-forwarded-for": "203.0.113.9, 10.0.0.4, 10.0.0.3, 10.0.0.2"}
    clients = [resolve(chain, section={**X_FORWARDED, "max_hops": hops}).client for hops in (1, 2, 3, 4, 5)]
    assert clients == [address(text) for text in ("10.0.0.2", "10.0.0.3", "10.0.0.4", CLIENT, CLIENT)]


def test_exact_number_of_proxies_stands_for_their_addresses() -> None:
    """What platforms offer whose router has no fixed address."""
    section = {"trusted": ["0.0.0.0/0", "::/0"], "max_hops": 1}
    assert resolve({"x-forwarded-for": "10.0.0.7, 203.0.113.9"}, ("198.51.100.1", 5), section).client == address(CLIENT)


@pytest.mark.parametrize("peer", [("203.0.113.9", 40000), ("203.0.113.9", "40000"), ("testclient", 50000), ("x", None)])
def test_stranger_is_not_believed_in_anything(peer: tuple[str, Any]) -> None:
    headers: dict[str, str | list[str]] = {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "evil.test",
        "forwarded": "for=127.0.0.1;proto=https;host=evil.test",
    }
    for section in (X_FORWARDED, FORWARDED):
        found = resolve(headers, peer, section)
        assert (found.client, found.secure, found.plain) == (address(peer[0]), False, False)
        assert str(found.host) == "internal:8000"


def test_nobody_is_trusted_by_default() -> None:
    assert isinstance(ProxiesSettings().resolver(), Direct)
    assert ProxiesSettings(trusted=TRUSTED).resolver().trusts
    found = resolve({"x-forwarded-for": "6.6.6.6", "x-forwarded-proto": "https"}, ("127.0.0.1", 5), {})
    assert found == Peer(address("127.0.0.1"), secure=False, host=found.host)


# A unix socket


@pytest.mark.parametrize("peer", [None, ("", 0), ("", "0"), ("unix:", 0), ("unix:/run/app.sock", None)])
def test_unix_socket_is_trusted_by_its_name_only(peer: tuple[str, Any] | None) -> None:
    headers: dict[str, str | list[str]] = {"x-forwarded-for": "6.6.6.6, 203.0.113.9", "x-forwarded-proto": "https"}
    log = EventLog()
    found = resolve(headers, peer, {"trusted": ["unix"], "proto": "x-forwarded-proto"}, log)
    assert (found.client, found.secure) == (address(CLIENT), True)
    assert log.codes == []
    assert resolve(headers, peer).client is None
    assert resolve({}, peer, {"trusted": ["unix"]}).client is None
    assert resolve({"x-forwarded-for": "unknown"}, peer, {"trusted": ["unix"]}).client is None


def test_trust_in_unix_sockets_is_no_trust_in_addresses() -> None:
    assert resolve({"x-forwarded-for": "6.6.6.6"}, ("testclient", 5), {"trusted": ["unix"]}).client is None
    assert resolve({"x-forwarded-for": "6.6.6.6"}, PROXY, {"trusted": ["unix"]}).client == address("10.0.0.1")


# Forwarded (RFC 7239)


@pytest.mark.parametrize(
    ("written", "client", "secure", "host"),
    [
        pytest.param(["for=203.0.113.9"], CLIENT, None, None, id="one proxy"),
        pytest.param(
            ["For=203.0.113.9;PROTO=https;Host=a.test"], CLIENT, True, "a.test", id="names in any letter case"
        ),
        pytest.param(['for="203.0.113.9:4711";proto="http"'], CLIENT, False, None, id="quoted strings"),
        pytest.param(['for="[2001:db8::9]:4711";host="a.test:81"'], "2001:db8::9", None, "a.test:81", id="quoted IPv6"),
        pytest.param([r'for="\2\0\3.0.113.9"'], CLIENT, None, None, id="quoted pairs"),
        pytest.param(['for="203.0.113.9:_hidden"'], CLIENT, None, None, id="obfuscated port"),
        pytest.param(["by=_me ; for=203.0.113.9 ;\tproto=https"], CLIENT, True, None, id="blanks around semicolons"),
        pytest.param([";;for=203.0.113.9;"], CLIENT, None, None, id="empty pairs, as the grammar allows"),
        pytest.param(["for=[2001:db8::9]:80"], "2001:db8::9", None, None, id="address that should have been quoted"),
        pytest.param(['for=203.0.113.9;ext="a,b;c=\\"d"'], CLIENT, None, None, id="comma and quote in a quoted string"),
        pytest.param(
            ["for=203.0.113.9;proto=https;host=a.test, for=10.0.0.2;proto=http;host=b.test"],
            CLIENT,
            True,
            "a.test",
            id="scheme and host belong to the client's element",
        ),
        pytest.param(
            ["for=6.6.6.6;proto=https", "for=203.0.113.9"], CLIENT, None, None, id="element of the client itself"
        ),
        pytest.param(["for=203.0.113.9;proto=https", "for=10.0.0.2"], CLIENT, True, None, id="an element on each line"),
        pytest.param(["for=10.0.0.3;proto=https, for=10.0.0.2"], "10.0.0.3", True, None, id="all are trusted"),
        pytest.param(['for="6.6.6.6, for=203.0.113.9;proto=https'], CLIENT, True, None, id="open quote to the left"),
        pytest.param(['for=6.6.6.6\\, for="203.0.113.9"'], CLIENT, None, None, id="backslash to the left"),
        pytest.param(['x="a\\", for=203.0.113.9'], CLIENT, None, None, id="escaped quote to the left"),
        pytest.param(
            ["for=6.6.6.6, for=unknown;proto=https"], "10.0.0.1", True, None, id="unknown client, known scheme"
        ),
        pytest.param(["for=6.6.6.6, for=_hidden;proto=https"], "10.0.0.1", True, None, id="obfuscated client"),
        pytest.param(["for=6.6.6.6, proto=https"], "10.0.0.1", True, None, id="no address at all"),
        pytest.param(["for=6.6.6.6, for=unknown, for=10.0.0.2"], "10.0.0.2", None, None, id="unknown behind a proxy"),
        pytest.param(["for=6.6.6.6,"], "10.0.0.1", None, None, id="empty element"),
        pytest.param(["for=6.6.6.6, for=203.0.113.9;for=1.1.1.1"], "10.0.0.1", None, None, id="parameter set twice"),
        pytest.param(["for=203.0.113.9;proto=https;x"], "10.0.0.1", None, None, id="pair without a value"),
        pytest.param(["for=203.0.113.9;x="], "10.0.0.1", None, None, id="pair with an empty value"),
        pytest.param(["for =203.0.113.9"], "10.0.0.1", None, None, id="blank before the equals sign"),
        pytest.param(['for="203.0.113.9'], "10.0.0.1", None, None, id="quoted string without an end"),
        pytest.param(['for=203.0.113.9"'], "10.0.0.1", None, None, id="quoted string without a beginning"),
        pytest.param(['for="203.0.113.9"x'], "10.0.0.1", None, None, id="something behind a quoted string"),
        pytest.param([""], "10.0.0.1", None, None, id="empty header"),
        pytest.param([], "10.0.0.1", None, None, id="no header"),
    ],
)
def test_forwarded_is_read_as_its_grammar_says(
    written: list[str], client: str, secure: bool | None, host: str | None
) -> None:
    log = EventLog()
    strangers: dict[str, str | list[str]] = {"x-forwarded-for": "6.6.6.6", "x-forwarded-proto": "https"}
    found = resolve({"forwarded": written, **strangers, "x-forwarded-host": "evil.test"}, section=FORWARDED, log=log)
    assert found.client == address(client)
    assert (found.secure, found.plain) == (secure is True, secure is False)
    assert str(found.host) == (host or "internal:8000")
    assert log.codes == []


def test_forwarded_is_not_read_where_x_forwarded_for_is() -> None:
    found = resolve({"forwarded": "for=6.6.6.6;proto=https;host=evil.test", "x-forwarded-for": CLIENT})
    assert (found.client, found.secure, str(found.host)) == (address(CLIENT), False, "internal:8000")


# Scheme and host


@pytest.mark.parametrize(
    ("addresses", "schemes", "secure"),
    [
        pytest.param(CLIENT, ["https"], True, id="one proxy says https"),
        pytest.param(CLIENT, ["http"], False, id="one proxy says http"),
        pytest.param(f"{CLIENT}, 10.0.0.2", ["https"], True, id="the outermost sets it, the others pass it on"),
        pytest.param(f"{CLIENT}, 10.0.0.2", ["https, http"], True, id="each appends its own"),
        pytest.param(f"{CLIENT}, 10.0.0.2", ["http , https"], False, id="each appends its own, the other way round"),
        pytest.param(f"{CLIENT}, 10.0.0.2", ["https", "http"], True, id="each appends a line"),
        pytest.param(f"6.6.6.6, {CLIENT}", ["https, http"], False, id="what the client wrote itself is not believed"),
        pytest.param(f"6.6.6.6, {CLIENT}", ["gopher, https"], True, id="whatever it is"),
        pytest.param(f"{CLIENT}, unknown", ["https, http"], False, id="where the walk ends at garbage"),
        pytest.param("", ["http, https"], True, id="no addresses: the nearest proxy's own"),
        pytest.param("", ["https"], True, id="no addresses, one scheme"),
    ],
)
def test_scheme_is_the_one_that_belongs_to_the_client(addresses: str, schemes: list[str], secure: bool) -> None:
    log = EventLog()
    headers: dict[str, str | list[str]] = {"x-forwarded-proto": schemes}
    found = resolve({**headers, "x-forwarded-for": addresses} if addresses else headers, log=log)
    assert (found.secure, found.plain) == (secure, not secure)
    assert log.codes == []


@pytest.mark.parametrize(
    "value", ["", "HTTPS", "https;", "on", "ftp", "ws", "wss", "https ,", "\xa0https", "a" * 60_000]
)
@pytest.mark.parametrize("tls", [True, False])
def test_scheme_that_is_not_exactly_http_or_https_is_ignored(value: str, tls: bool) -> None:
    log = EventLog()
    found = resolve({"x-forwarded-proto": value}, log=log, scheme="https" if tls else "http")
    assert (found.secure, found.plain) == (tls, False)
    assert log.told == [("noticed", "proxies.proto-invalid")]
    assert log.last.detail["header"] == b"x-forwarded-proto"
    assert log.last.detail["peer"] == "10.0.0.1"


def test_list_of_schemes_too_short_for_the_chain_is_ignored() -> None:
    log = EventLog()
    found = resolve({"x-forwarded-for": f"{CLIENT}, 10.0.0.3, 10.0.0.2", "x-forwarded-proto": "https, http"}, log=log)
    assert (found.client, found.secure, found.plain) == (address(CLIENT), False, False)
    assert log.codes == ["proxies.proto-invalid"]


@pytest.mark.parametrize(("scheme", "secure"), [("ws", False), ("wss", True), ("http", False), ("https", True)])
def test_websocket_has_either_name_of_its_scheme(scheme: str, secure: bool) -> None:
    """Traefik writes ws and wss, nginx and HAProxy write http and https."""
    log = EventLog()
    found = resolve({"x-forwarded-proto": scheme}, log=log, websocket=True, scheme="ws")
    assert (found.secure, found.plain) == (secure, not secure)
    assert log.codes == []


def test_proxy_says_http_over_a_tls_socket_of_its_own() -> None:
    found = resolve({"x-forwarded-proto": "http"}, scheme="https")
    assert (found.secure, found.plain) == (False, True)


def test_proxy_that_says_nothing_proves_nothing() -> None:
    assert resolve({}, scheme="http") == resolve({}, section={"trusted": TRUSTED})
    assert (resolve({}).secure, resolve({}).plain) == (False, False)
    assert resolve({}, scheme="https").secure


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("A.test.", "a.test"),
        ("a.test:81", "a.test:81"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
        ("b.test, a.test", "a.test"),
    ],
)
def test_host_is_the_forwarded_one(value: str, host: str) -> None:
    assert str(resolve({"x-forwarded-for": CLIENT, "x-forwarded-host": value}).host) == host


@pytest.mark.parametrize("value", ["", "a.test/x", "a@b", "a b", "a..b", "a:99999", "http://a.test", "a" * 60_000])
@pytest.mark.parametrize("header", ["x-forwarded-host", "forwarded"])
def test_host_that_is_malformed_is_ignored(value: str, header: str) -> None:
    log = EventLog()
    forwarded = header == "forwarded"
    found = resolve(
        {header: f'host="{value}"' if forwarded else value}, section=FORWARDED if forwarded else None, log=log
    )
    assert str(found.host) == "internal:8000"
    assert log.told == [("noticed", "proxies.host-invalid")]


def test_what_is_ignored_goes_to_the_log_by_default(caplog: pytest.LogCaptureFixture) -> None:
    resolver = ProxiesSettings(trusted=TRUSTED, proto="x-forwarded-proto").resolver()
    lines = [(b"x-forwarded-proto", b"evil")]
    assert not exchange(headers=lines, client=PROXY, resolver=resolver, scheme="http").secure
    assert "proxies.proto-invalid" in caplog.text


# A server that has been there before


@pytest.mark.parametrize(
    ("peer", "written"),
    [
        pytest.param((CLIENT, 0), [CLIENT], id="uvicorn writes port 0"),
        pytest.param((CLIENT, "0"), [CLIENT], id="granian writes it as a text"),
        pytest.param((CLIENT, 4711), [f"{CLIENT}:4711"], id="uvicorn took the entry's port"),
        pytest.param((CLIENT, 4711), [f"{CLIENT}:4711, 10.0.0.2"], id="uvicorn took the port of a farther entry"),
        pytest.param(("2001:db8::9", 4711), ["[2001:db8::9]:4711"], id="uvicorn took an IPv6 entry's port"),
        pytest.param(("10.0.0.9", 0), ["6.6.6.6, 10.0.0.9"], id="an internal client that forges"),
        pytest.param(
            ("10.0.0.9", 4711), ["6.6.6.6, 10.0.0.9:4711"], id="an internal client that forges, with its port"
        ),
        pytest.param(("10.0.0.9", 4711), ["6.6.6.6, 10.0.0.9:4711, 10.0.0.2"], id="the same behind two proxies"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_the_server_has_rewritten_is_not_walked_again(
    peer: tuple[str, Any], written: list[str], scheme: str
) -> None:
    log = EventLog()
    context = Context(sinks=(log,))
    resolver = ProxiesSettings(**X_FORWARDED).resolver(context.notice)
    lines = [(b"x-forwarded-for", value.encode()) for value in written]
    lines += [(b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"evil.test")]
    for _ in range(3):
        found = exchange(headers=lines, client=peer, resolver=resolver, scheme=scheme).identity
        assert found.client == address(peer[0])
        assert (found.secure, found.plain) == (scheme == "https", False)
        assert str(found.host) == "example.com"
    assert log.told == [("noticed", "proxies.rewritten")]
    assert "--no-proxy-headers" in log.last.reason


def test_server_that_found_no_address_leaves_no_client() -> None:
    assert resolve({"x-forwarded-for": "unknown"}, ("unknown", 0)).client is None


@pytest.mark.parametrize("written", ["10.0.0.1:40000, 203.0.113.9", "10.0.0.1:40000, 6.6.6.6, 203.0.113.9:1"])
def test_client_cannot_pretend_that_the_server_has_rewritten_it(written: str) -> None:
    log = EventLog()
    assert resolve({"x-forwarded-for": written}, log=log).client == address(CLIENT)
    assert log.codes == []


def test_other_header_cannot_pretend_it_either() -> None:
    headers: dict[str, str | list[str]] = {"x-forwarded-for": "10.0.0.1:40000", "forwarded": "for=203.0.113.9"}
    assert resolve(headers, section=FORWARDED).client == address(CLIENT)
