"""Allowed hosts."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from secguard.guard import Guard
from secguard.hosts import HostsMiddleware, HostsPolicy, HostsSettings
from secguard.policy import Context, Mode, Reply
from secguard.proxies import ProxiesSettings
from tests.helpers import EventLog, drive, exchange, http_scope, plain, websocket_scope

ALLOWED = ("example.com", "*.example.com", "app.test:8443", "*.ports.test:8443", "192.0.2.7", "[2001:DB8::1]", "a_b")


def verdict(host: bytes | None, allowed: Sequence[str] = ALLOWED) -> Reply | None:
    answer = HostsPolicy(HostsSettings(allowed=allowed)).admit(exchange(host=host))
    assert answer is None or isinstance(answer, Reply)
    return answer


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(b"example.com", id="exact name"),
        pytest.param(b"EXAMPLE.Com", id="letter case does not matter"),
        pytest.param(b"example.com.", id="trailing dot is the same name"),
        pytest.param(b"example.com:8000", id="entry without a port allows any port"),
        pytest.param(b"example.com.:8000", id="trailing dot before a port"),
        pytest.param(b"example.com:443", id="port of the scheme written out"),
        pytest.param(b"www.example.com", id="subdomain of a wildcard"),
        pytest.param(b"a.b.c.Example.com", id="subdomain at any depth"),
        pytest.param(b"www.example.com:8000", id="subdomain with any port"),
        pytest.param(b"app.test:8443", id="the one port of an entry"),
        pytest.param(b"x.y.ports.test:8443", id="the one port of a wildcard"),
        pytest.param(b"192.0.2.7", id="IPv4 literal"),
        pytest.param(b"192.0.2.7:80", id="IPv4 literal with a port"),
        pytest.param(b"[2001:db8::1]", id="IPv6 literal"),
        pytest.param(b"[2001:db8:0:0:0:0:0:1]", id="IPv6 literal in another spelling"),
        pytest.param(b"[2001:DB8::1]:8000", id="IPv6 literal with a port"),
        pytest.param(b"a_b:8000", id="name with an underscore, as containers have"),
    ],
)
def test_allowed_host_passes(host: bytes) -> None:
    assert verdict(host) is None


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(b"example.org", id="another name"),
        pytest.param(b"badexample.com", id="name that merely ends alike"),
        pytest.param(b"example.com.evil.test", id="name that merely begins alike"),
        pytest.param(b"com", id="parent"),
        pytest.param(b"ports.test:8443", id="apex of a wildcard"),
        pytest.param(b"app.test", id="entry with a port, request without"),
        pytest.param(b"app.test:8000", id="entry with a port, request with another"),
        pytest.param(b"x.ports.test", id="wildcard with a port, request without"),
        pytest.param(b"x.ports.test:80", id="wildcard with a port, request with another"),
        pytest.param(b"192.0.2.70", id="another IPv4 literal"),
        pytest.param(b"1.192.0.2.7", id="address with something before it"),
        pytest.param(b"[2001:db8::2]", id="another IPv6 literal"),
        pytest.param(b"2001:db8::1", id="IPv6 literal without brackets"),
        pytest.param(None, id="no host"),
        pytest.param(b"", id="empty host"),
        pytest.param(b"example.com/evil", id="path after the name"),
        pytest.param(b"example.com/evil?@x:99", id="what poisons request.url"),
        pytest.param(b"user@example.com", id="user before the name"),
        pytest.param(b"example.com, evil.test", id="list"),
        pytest.param(b"example.com evil.test", id="blank"),
        pytest.param(b"example.com:", id="colon without a port"),
        pytest.param(b"example.com:0", id="port 0"),
        pytest.param(b"example.com:99999", id="port out of range"),
        pytest.param(b"example.com:http", id="port that is no number"),
        pytest.param(b"example..com", id="empty label"),
        pytest.param(b"..", id="dots alone"),
        pytest.param(b"ex\xc3\xa4mple.com", id="bytes beyond ASCII"),
        pytest.param(b"example.com\x00", id="NUL"),
        pytest.param(b"%65xample.com", id="percent-encoded"),
        pytest.param(b"a." * 32_000 + b"example.com", id="64 KiB"),
        pytest.param(b"[::1", id="open bracket"),
        pytest.param(b"[fe80::1%25eth0]", id="zone id"),
    ],
)
def test_other_host_is_refused(host: bytes | None) -> None:
    reply = verdict(host)
    assert reply is not None
    assert reply.status == 400
    assert reply.event is not None
    assert reply.event.code == "hosts.unknown"
    assert not reply.cacheable


def test_refusal_says_which_host_and_what_to_set() -> None:
    reply = verdict(b"Evil.test:99")
    assert reply is not None
    assert reply.event is not None
    assert reply.event.detail == {"host": "evil.test:99"}
    assert "SECGUARD_HOSTS__ALLOWED" in reply.event.reason


def test_client_learns_the_reason_in_development_only() -> None:
    section = HostsSettings(allowed=["example.com"])
    shown = HostsPolicy(section, Context(environment="development")).admit(exchange(host=b"evil.test"))
    hidden = HostsPolicy(section, Context()).admit(exchange(host=b"evil.test"))
    assert isinstance(shown, Reply)
    assert isinstance(hidden, Reply)
    assert b"SECGUARD_HOSTS__ALLOWED" in shown.body
    assert hidden.body == b"Bad Request\n"


def test_wildcard_needs_no_exact_entry() -> None:
    assert verdict(b"www.example.com", ("*.example.com",)) is None
    assert verdict(b"example.com", ("*.example.com",)) is not None


def test_host_is_the_one_that_a_trusted_proxy_forwards() -> None:
    resolver = ProxiesSettings(trusted=["10.0.0.1"], host="x-forwarded-host").resolver()
    policy = HostsPolicy(HostsSettings(allowed=["example.com"]), Context(resolver=resolver))
    forwarded = [(b"host", b"internal:8000"), (b"x-forwarded-host", b"example.com")]
    assert policy.admit(exchange(headers=forwarded, client=("10.0.0.1", 5), resolver=resolver)) is None
    assert policy.admit(exchange(headers=forwarded, client=("203.0.113.9", 5), resolver=resolver)) is not None


@given(st.binary(max_size=300))
def test_no_host_raises(host: bytes) -> None:
    verdict(host)


names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?){0,4}", fullmatch=True)


@given(names, names, st.integers(1, 65535))
def test_wildcard_is_every_name_below_and_no_other(apex: str, name: str, port: int) -> None:
    hosts = (f"*.{apex}x",)
    assert verdict(f"{name}.{apex}x:{port}".encode(), hosts) is None
    assert verdict(f"{apex}x:{port}".encode(), hosts) is not None
    assert verdict(f"{name}{apex}x".encode(), hosts) is not None
    assert (verdict(name.encode(), hosts) is None) is name.endswith(f".{apex}x")


# Settings


@pytest.mark.parametrize(
    ("entry", "kept"),
    [
        pytest.param("Example.COM", "example.com", id="lower case"),
        pytest.param("example.com.", "example.com", id="no trailing dot"),
        pytest.param("*.Example.com", "*.example.com", id="wildcard"),
        pytest.param("example.com:8443", "example.com:8443", id="port"),
        pytest.param("*.example.com:8443", "*.example.com:8443", id="wildcard with a port"),
        pytest.param("[2001:DB8:0::1]:8443", "[2001:db8::1]:8443", id="shortest IPv6 spelling"),
        pytest.param("xn--mnchen-3ya.example", "xn--mnchen-3ya.example", id="A-label"),
        pytest.param("localhost", "localhost", id="single label"),
    ],
)
def test_entry_is_kept_in_one_spelling(entry: str, kept: str) -> None:
    assert HostsSettings(allowed=[entry]).allowed == (kept,)


@pytest.mark.parametrize(
    ("entry", "advice"),
    [
        pytest.param("", "empty", id="empty"),
        pytest.param("*", "SECGUARD_HOSTS=off", id="everything"),
        pytest.param("https://example.com/x", "write example.com", id="scheme"),
        pytest.param("example.com/x", "write example.com", id="path"),
        pytest.param("a.test b.test", "an entry of its own", id="blank"),
        pytest.param("münchen.example", "write xn--mnchen-3ya.example", id="international name"),
        pytest.param("*.STRAßE.example:8443", "write *.xn--strae-oqa.example:8443", id="letter that browsers keep"),
        pytest.param("例え。テスト", "write xn--r8jz45g.xn--zckzah", id="ideographic full stop"),
        pytest.param("www.*.com", "only *.example.com", id="wildcard in the middle"),
        pytest.param("*.*.com", "only *.example.com", id="two wildcards"),
        pytest.param("*example.com", "only *.example.com", id="wildcard that is no label"),
        pytest.param("::1", "write [::1]", id="IPv6 without brackets"),
        pytest.param("*.192.0.2.7", "write 192.0.2.7", id="wildcard before an IPv4 literal"),
        pytest.param("*.[::1]", "write [::1]", id="wildcard before an IPv6 literal"),
        pytest.param("example.com:443", "write example.com", id="port of https"),
        pytest.param("*.example.com:80", "write *.example.com", id="port of http"),
        pytest.param("example.com:99999", "like example.com", id="port out of range"),
        pytest.param("example.com:x", "like example.com", id="port that is no number"),
        pytest.param("user@example.com", "like example.com", id="user"),
        pytest.param("*.", "like example.com", id="wildcard before nothing"),
        pytest.param("a..b", "like example.com", id="empty label"),
    ],
)
def test_entry_that_is_no_host_stops_the_start(entry: str, advice: str) -> None:
    with pytest.raises(ValidationError) as caught:
        HostsSettings(allowed=[entry])
    (error,) = caught.value.errors()
    assert error["type"] == "host-entry"
    assert error["msg"].startswith(repr(entry))
    assert advice in error["msg"]


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        HostsSettings(allowed=["*", "example.com", "a b"])
    assert [error["loc"] for error in caught.value.errors()] == [("allowed", 0), ("allowed", 2)]


def test_empty_list_stops_the_start() -> None:
    with pytest.raises(ValidationError):
        HostsSettings(allowed=[])


def test_list_may_be_written_with_commas() -> None:
    assert HostsSettings(allowed="example.com, [::1]").allowed == ("example.com", "[::1]")


def test_section_survives_its_own_dump() -> None:
    section = HostsSettings(allowed=ALLOWED)
    assert section.under("strict") == section


@pytest.mark.parametrize("host", ["localhost", "api.localhost:8000", "127.0.0.1:8000", "[::1]:8000", "testserver"])
def test_loopback_names_are_allowed_in_development(host: str) -> None:
    assert verdict(host.encode(), HostsSettings.loopback().allowed) is None


@pytest.mark.parametrize("host", ["example.com", "localhost.example.com", "0.0.0.0", "notlocalhost"])
def test_no_other_name_is_loopback(host: str) -> None:
    assert verdict(host.encode(), HostsSettings.loopback().allowed) is not None


# Through the Guard, alone and among others


def alone(log: EventLog, mode: Mode = "enforce") -> ASGIApp:
    return HostsMiddleware(plain, HostsSettings(allowed=["example.com"], mode=mode), sinks=(log,))


def in_a_guard(log: EventLog, mode: Mode = "enforce") -> ASGIApp:
    context = Context(sinks=(log,))
    return Guard(plain, policies=[HostsPolicy(HostsSettings(allowed=["example.com"], mode=mode), context)])


both = pytest.mark.parametrize("build", [alone, in_a_guard])


@both
def test_request_is_answered(build: Callable[..., ASGIApp]) -> None:
    log = EventLog()
    app = build(log)
    assert drive(app, http_scope()).status == 200
    refused = drive(app, http_scope(host=b"evil.test"))
    assert refused.status == 400
    assert refused.header(b"cache-control") == b"no-store"
    assert log.told == [("refused", "hosts.unknown")]


@both
def test_websocket_is_denied(build: Callable[..., ASGIApp]) -> None:
    log = EventLog()
    app = build(log)
    assert drive(app, websocket_scope()).types == ["websocket.accept"]
    denied = drive(app, websocket_scope(host=b"evil.test"))
    assert denied.types == ["websocket.http.response.start", "websocket.http.response.body"]
    assert denied.status == 400
    assert drive(app, websocket_scope(host=b"evil.test", denial=False)).closed == 1008
    assert log.told == [("refused", "hosts.unknown")] * 2


@both
def test_refusal_can_be_rehearsed(build: Callable[..., ASGIApp]) -> None:
    log = EventLog()
    app = build(log, "report")
    assert drive(app, http_scope(host=b"evil.test")).status == 200
    assert drive(app, websocket_scope(host=b"evil.test")).status == 101
    assert log.told == [("rehearsed", "hosts.unknown")] * 2


def test_starlette_adds_it_as_a_middleware() -> None:
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("ok"))])
    app.add_middleware(HostsMiddleware, settings=HostsSettings(allowed=["example.com"]))
    assert TestClient(app, "http://example.com").get("/").status_code == 200
    assert TestClient(app, "http://evil.test").get("/").status_code == 400


def test_flood_of_names_below_a_wildcard_leaves_a_bounded_memory() -> None:
    policy = HostsPolicy(HostsSettings(allowed=["*.example.com"]))
    for number in range(3000):
        assert policy.admit(exchange(host=b"%d.example.com" % number)) is None
    assert len(policy._welcome) <= 1024
    assert policy.admit(exchange(host=b"1.example.org")) is not None
