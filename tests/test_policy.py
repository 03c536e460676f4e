"""The vocabulary: Exchange, Reply, Context, Policy, Section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from secguard._http import Host
from secguard.events import Event
from secguard.policy import (
    Context,
    Direct,
    Exchange,
    Outcome,
    Peer,
    Policy,
    RefusingSection,
    Reply,
    Section,
    parse_address,
)
from secguard.policy.lazy import lazy
from tests.helpers import EventLog, clock, exchange, http_scope, websocket_scope

# --- addresses ---

ADDRESSES = {
    "192.0.2.1": "192.0.2.1",
    "2001:DB8::1": "2001:db8::1",
    "fe80::1%eth0": "fe80::1",
    f"fe80::1%{'x' * 50_000}": "fe80::1",
    "::ffff:192.0.2.1": "192.0.2.1",
    "::FFFF:C000:201": "192.0.2.1",
    "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "2002:c000:201::": "2002:c000:201::",
    "64:ff9b::c000:201": "64:ff9b::c000:201",
    "": None,
    "%eth0": None,
    "testclient": None,
    "192.0.2.01": None,
    "192.0.2.1:80": None,
    "[::1]": None,
    " 192.0.2.1": None,
    "192.0.2.1\n": None,
    "1" * 1_000_000: None,
    "unix:": None,
}


@pytest.mark.parametrize(("text", "address"), ADDRESSES.items(), ids=lambda text: repr(text)[:30])
def test_addresses_are_read_without_zone_and_unmapped(text: str, address: str | None) -> None:
    assert parse_address(text) == (ip_address(address) if address else None)


def test_nobody_has_no_address() -> None:
    assert parse_address(None) is None


@given(st.ip_addresses())
def test_addresses_are_read_as_the_standard_library_does(address: Any) -> None:
    assert parse_address(str(address)) == (getattr(address, "ipv4_mapped", None) or address)


# --- the Exchange ---


def test_an_exchange_tells_what_its_scope_says() -> None:
    seen = exchange(
        "/api/a",
        [(b"host", b"Example.com:8443"), (b"accept", b"a"), (b"accept", b"b")],
        method="POST",
        root_path="/api",
        query_string=b"x=1",
        http_version="2",
    )
    assert (seen.kind, seen.method, seen.path, seen.root_path) == ("http", "POST", "/api/a", "/api")
    assert (seen.query, seen.raw_path, seen.http_version) == (b"x=1", b"/api/a", "2")
    assert seen.headers == {b"host": b"Example.com:8443", b"accept": b"b"}
    assert seen.values(b"accept") == [b"a", b"b"]
    assert seen.host == Host("example.com", 8443)
    assert seen.client == ip_address("203.0.113.9")
    assert seen.secure
    assert seen.tls
    assert not seen.readdressed
    assert not seen.on_unix_socket


def test_a_bare_scope_is_enough() -> None:
    seen = Exchange({"type": "http", "method": "GET", "path": "/", "headers": ()}, Direct())
    assert (seen.root_path, seen.query, seen.raw_path, seen.http_version) == ("", b"", None, "1.1")
    assert [seen.peer, seen.client, seen.host, seen.address] == [None] * 4
    assert not seen.secure


def test_optional_keys_may_be_none() -> None:
    seen = exchange(root_path=None, query_string=None, raw_path=None, http_version=None, client=None)
    assert (seen.root_path, seen.query, seen.raw_path, seen.http_version) == ("", b"", None, "1.1")


def test_a_handshake_is_a_get() -> None:
    seen = exchange(websocket=True)
    assert (seen.kind, seen.method, seen.secure) == ("websocket", "GET", True)


@pytest.mark.parametrize(
    "lines", [((b"a", b"1"), (b"b", b"2")), iter([(b"a", b"1"), (b"b", b"2")]), [[b"a", b"1"], [b"b", b"2"]]]
)
def test_header_lines_may_be_any_iterable(lines: Any) -> None:
    scope = {**http_scope(), "headers": lines}
    seen = Exchange(scope, Direct())
    assert seen.headers == {b"a": b"1", b"b": b"2"}
    assert seen.values(b"b") == [b"2"]
    assert [tuple(line) for line in scope["headers"]] == [(b"a", b"1"), (b"b", b"2")], "the app still has them"


PEERS: dict[str, tuple[Any, str | None, bool, bool]] = {
    # client, address, on a unix socket, readdressed by the server
    "a socket": (("192.0.2.1", 5000), "192.0.2.1", False, False),
    "a port as text": (("192.0.2.1", "5000"), "192.0.2.1", False, False),
    "a list": (["192.0.2.1", 5000], "192.0.2.1", False, False),
    "a zone id": (("fe80::1%eth0", 5000), "fe80::1", False, False),
    "rewritten by the server": (("192.0.2.1", 0), "192.0.2.1", False, True),
    "rewritten, the port as text": (("192.0.2.1", "0"), "192.0.2.1", False, True),
    "TestClient": (("testclient", 50000), None, False, False),
    "a unix socket": (None, None, True, False),
    "a unix socket, as hypercorn writes it": (("", 0), None, True, False),
    "a unix socket with a name": (("unix:/run/app.sock", 0), None, True, False),
}


@pytest.mark.parametrize(("client", "address", "unix", "readdressed"), PEERS.values(), ids=PEERS)
def test_the_peer_as_servers_write_it(client: Any, address: str | None, unix: bool, readdressed: bool) -> None:
    seen = exchange(client=client)
    assert seen.client == (ip_address(address) if address else None)
    assert seen.on_unix_socket is unix
    assert seen.readdressed is readdressed


def test_paths_know_the_root_path_of_the_server_and_of_the_app() -> None:
    assert exchange("/api/a", root_path="/api").routed == "/a"
    assert exchange("/api/a", app_root="/api").routed == "/a"
    assert exchange("/v1/a", root_path="/v1", app_root="/api").routed == "/v1/a", "the app's own replaces the server's"
    assert {"/a", "/v1/a", "/api/a", "/api/v1/a"} <= set(exchange("/v1/a", root_path="/v1", app_root="/api").paths)
    assert exchange("/a").paths == ("/a",)
    assert exchange("/a", root_path="/v1", app_root="/api").prefix == "/api"


def test_an_exchange_holds_no_reference_back_to_its_scope() -> None:
    scope = http_scope()
    scope["secguard"] = seen = Exchange(scope, Direct())
    assert all(value is not scope and value is not seen for value in vars(seen).values())
    assert seen not in vars(seen)["_scope"].values()


DIRECT = Direct()
CHANGES: dict[str, dict[str, Any]] = {
    "a mount": {"root_path": "/mounted"},
    "a rewritten path": {"path": "/other"},
    "a method override": {"method": "DELETE"},
    "a middleware for proxies": {"client": ("192.0.2.99", 0)},
    "a scheme from a proxy": {"scheme": "http"},
    "another list of headers": {"headers": [(b"host", b"example.com")]},
}


def test_an_exchange_speaks_for_its_own_scope() -> None:
    scope = http_scope()
    seen = Exchange(scope, DIRECT)
    assert seen.speaks_for(scope, DIRECT, "")
    assert seen.speaks_for({**scope, "state": {}, "path_params": {}}, DIRECT, "")
    assert not seen.speaks_for(scope, Direct(), "")
    assert not seen.speaks_for(scope, DIRECT, "/api")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_exchange_speaks_for_no_scope_that_was_changed(change: dict[str, Any]) -> None:
    scope = http_scope()
    seen = Exchange(scope, DIRECT)
    assert not seen.speaks_for({**scope, **change}, DIRECT, "")


def test_nothing_is_computed_twice() -> None:
    class Counting:
        trusts = True
        asked = 0

        def resolve(self, exchange: Exchange) -> Peer:
            self.asked += 1
            return Direct().resolve(exchange)

    resolver = Counting()
    seen = exchange(resolver=resolver)
    assert resolver.asked == 0
    assert seen.client
    assert seen.secure
    assert seen.host
    assert resolver.asked == 1
    assert seen.paths is seen.paths


def test_a_lazy_value_is_described_by_its_class() -> None:
    assert isinstance(Exchange.paths, lazy)
    assert Exchange.paths.__doc__ == "Every path that the request may be served as. Refusing rules match any of them."


# --- Replies and the Context ---


def test_law_10_a_reply_is_not_cached_unless_it_says_so() -> None:
    refused = exchange(websocket=True)
    for status in (200, 301, 307, 308, 400, 403, 404, 405, 410, 413, 429, 431, 500):
        assert Reply(status).lines.count((b"cache-control", b"no-store")) == 1
    assert (b"cache-control", b"no-store") in Context().refuse(refused, HTTPStatus.FORBIDDEN, "x.y", "z").lines
    assert all(name != b"cache-control" for name, _ in Reply(204, cacheable=True).lines)


def test_a_reply_tells_its_length_where_it_may() -> None:
    assert (b"content-length", b"5") in Reply(400, body=b"hello").lines
    assert (b"content-length", b"0") in Reply(307).lines
    assert all(name != b"content-length" for name, _ in Reply(204, cacheable=True).lines), "RFC 9110 section 8.6"


def test_replies_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Reply(403).status = 200  # type: ignore[misc]


def refusal(context: Context) -> Reply:
    seen = exchange("/x", method="POST")
    return context.refuse(seen, HTTPStatus.FORBIDDEN, "x.y", "because", (b"x-a", b"1"), who="him")


def test_a_refusal_says_nothing_to_the_client_and_everything_to_the_operator() -> None:
    reply = refusal(Context(clock=clock(7.0)))
    assert (reply.status, reply.body, reply.close_code) == (403, b"Forbidden\n", 1008)
    assert {(b"content-type", b"text/plain; charset=utf-8"), (b"x-a", b"1")} <= set(reply.lines)
    assert reply.event == Event(
        code="x.y",
        action="refused",
        reason="because",
        time=7.0,
        client="203.0.113.9",
        method="POST",
        path="/x",
        status=403,
        detail={"who": "him"},
    )


def test_in_development_a_refusal_says_why_in_its_body() -> None:
    assert refusal(Context(environment="development")).body == b"Forbidden\nx.y: because\n"


def test_a_notice_needs_no_request() -> None:
    log = EventLog()
    Context(sinks=(log,), clock=clock(7.0)).notice("x.y", "seen", n=1)
    assert log.last == Event(code="x.y", action="noticed", reason="seen", time=7.0, detail={"n": 1})
    Context(sinks=(log,)).notice("x.y", "seen", exchange(client=None))
    assert (log.last.client, log.last.path) == (None, "/")


class Strict(RefusingSection):
    """A section with something for each profile."""

    profiles: ClassVar[Any] = {"strict": {"size": 1, "nested": {"a": 1, "b": 1}}}
    size: int = 9
    nested: Mapping[str, int] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("own", "everybody", "rehearses"),
    [
        ("enforce", "enforce", False),
        ("report", "enforce", True),
        ("enforce", "report", True),
        ("report", "report", True),
    ],
)
def test_law_9_a_policy_rehearses_where_its_section_or_everybody_reports(
    own: Any, everybody: Any, rehearses: bool
) -> None:
    policy = Policy(Context(mode=everybody))
    assert policy.rehearses is (everybody == "report")
    policy.section = Strict(mode=own)
    assert policy.rehearses is rehearses


def test_a_policy_that_overrides_nothing_does_nothing() -> None:
    policy, seen = Policy(), exchange()
    assert policy.context == Context()
    assert list(policy.declare(True, ())) == []
    assert not policy.rules
    nothing: list[Any] = [
        policy.admit(seen),
        policy.finish(seen, []),
        policy.on_receive(seen, {"type": "http.request"}),
        policy.done(seen, Outcome(200)),
    ]
    assert nothing == [None] * 4


def test_a_profile_lies_under_what_the_user_wrote() -> None:
    assert Strict().under("web") == Strict()
    assert (Strict().under("strict").size, Strict(size=5).under("strict").size) == (1, 5)
    assert Strict(nested={"b": 2, "c": 3}).under("strict").nested == {"a": 1, "b": 2, "c": 3}


def test_a_section_is_frozen_and_knows_its_fields() -> None:
    with pytest.raises(ValidationError):
        Strict(colour="red")  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Strict().size = 1  # type: ignore[misc]
    assert isinstance(Strict(), Section)


def test_a_websocket_scope_may_lack_the_denial_extension() -> None:
    assert "websocket.http.response" in websocket_scope()["extensions"]
    assert "websocket.http.response" not in websocket_scope(denial=False)["extensions"]
