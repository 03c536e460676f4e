"""What a request is counted by, and who falls to whom."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection

from secguard._keys import Keys
from secguard.policy import Context, Exchange, Policy
from secguard.proxies import ProxiesSettings
from secguard.rate_limit import RateLimitPolicy, RateLimitSettings
from secguard.rate_limit.keys import GLOBAL, UNKNOWN, Identities
from tests.helpers import attempt, drive, exchange, http_scope, plain
from tests.limited_apps import limited

SECRET = "Uq3yP0vN6kXb2ZtR8wLmJ4sHdG7cFaEe"


def identities(prefix: int = 64, secret: str = SECRET) -> Identities:
    return Identities(Context(keys=Keys([secret])), prefix)


def key(spec: Any, seen: Exchange, **options: Any) -> Any:
    return identities(**options).by(spec)(seen)


def of_ip(client: str | None, **options: Any) -> bytes:
    found, sponsor = key("ip", exchange(client=(client, 50000) if client is not None else None), **options)
    assert sponsor is None
    return bytes(found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("192.0.2.7", "::ffff:192.0.2.7", id="IPv4 within IPv6 is IPv4"),
        pytest.param("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", id="one network of IPv6"),
        pytest.param("fe80::1%eth0", "fe80::1%eth1", id="zone ids are no part of it"),
        pytest.param("2001:DB8:0::1", "2001:db8::1", id="spelling"),
        pytest.param(None, "", id="nobody knows either"),
        pytest.param("testclient", "unix:/run/app.sock", id="what is no address"),
    ],
)
def test_same_client_in_another_form_has_the_same_key(one: str | None, other: str | None) -> None:
    assert of_ip(one) == of_ip(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("192.0.2.7", "192.0.2.8", id="neighbours of IPv4"),
        pytest.param("2001:db8::1", "2001:db8:0:1::1", id="neighbouring networks of IPv6"),
        pytest.param("2002:c000:207::", "192.0.2.7", id="6to4 is not unwrapped"),
        pytest.param("64:ff9b::c000:207", "192.0.2.7", id="NAT64 is not unwrapped"),
        pytest.param("192.0.2.7", None, id="somebody and nobody"),
    ],
)
def test_other_client_has_another_key(one: str, other: str | None) -> None:
    assert of_ip(one) != of_ip(other)


@pytest.mark.parametrize("prefix", [32, 48, 56, 64, 65, 96, 127, 128])
@given(one=st.ip_addresses(v=6), flip=st.integers(0, 127))
def test_prefix_decides_which_bits_count(prefix: int, one: IPv6Address, flip: int) -> None:
    made = identities(prefix)
    other = IPv6Address(int(one) ^ (1 << flip))
    assert (made.of_address(one) == made.of_address(other)) is (flip < 128 - prefix)


@given(st.ip_addresses(v=4), st.ip_addresses(v=6), st.text(), st.binary())
def test_no_two_kinds_of_keys_are_alike(v4: IPv4Address, v6: IPv6Address, text: str, value: bytes) -> None:
    made = identities(128)
    hashed = {made.of_user(text), made.of_header(b"x-key", value), made.of_header(b"x-ke", b"y" + value)}
    assert len({made.of_address(v4), made.of_address(v6), GLOBAL, UNKNOWN} | hashed) == 7


def test_parts_of_a_key_cannot_run_into_each_other() -> None:
    made = identities()
    assert made.of_header(b"x-a", b"b:c") != made.of_header(b"x-a:b", b"c")


def test_key_of_the_hash_is_derived_from_the_first_secret() -> None:
    other = "Zx9cV8bN7mA6sD5fG4hJ3kL2qW1eRtYu"
    assert identities().of_user("eve") != identities(secret=other).of_user("eve")
    rotated = Identities(Context(keys=Keys([SECRET, other])), 64)
    assert rotated.of_user("eve") == identities().of_user("eve")
    assert Identities(Context(), 64).hash_key == b""


@given(st.text(max_size=80))
def test_whatever_stands_for_an_address_has_a_key(client: str) -> None:
    assert len(of_ip(client)) in {0, 4, 8}


def test_address_is_the_one_that_a_trusted_proxy_vouches_for() -> None:
    resolver = ProxiesSettings(trusted=["10.0.0.0/8"]).resolver(lambda *args, **detail: None)
    site = limited("1/minute", context={"resolver": resolver})

    def ask(peer: str, claimed: bytes) -> int:
        return site.ask(client=peer, headers=[(b"x-forwarded-for", claimed)]).status

    assert ask("10.0.0.1", b"198.51.100.1") == 200
    assert ask("10.0.0.2", b"198.51.100.1") == 429
    assert ask("10.0.0.1", b"198.51.100.2") == 200
    assert ask("10.0.0.1", b"6.6.6.6, 198.51.100.2") == 429, "what stands further left is anybody's word"
    assert ask("203.0.113.9", b"198.51.100.3") == 200
    assert ask("203.0.113.9", b"198.51.100.4") == 429, "nobody trusts this one"


def test_clients_without_an_address_share_one_count_and_somebody_is_told_once() -> None:
    site = limited("2/minute")
    assert [site.ask(client=client).status for client in (None, "", "unix:x")] == [200, 200, 429]
    assert site.log.codes == ["rate_limit.unknown-client", "rate_limit.exceeded"]


def header(value: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"x-api-key", value)]


def test_header_is_hashed_and_values_have_a_count_of_their_own() -> None:
    site = limited("3/minute", key="header:X-API-Key")
    for value in (b"a", b"b"):
        assert [site.ask(headers=header(value)).status for _ in range(4)] == [200, 200, 200, 429]
    (windows,) = site.policy.local._windows.values()
    assert not any(value in str(name) for name in windows._young for value in ("api", "header", "a'"))


def test_header_that_is_absent_or_there_twice_falls_to_the_address() -> None:
    site = limited("2/minute", key="header:X-API-Key")
    assert site.ask().status == 200
    assert site.ask(headers=[*header(b"a"), *header(b"b")]).status == 200
    assert site.ask().status == 429
    assert site.ask(headers=[*header(b"a"), *header(b"a")]).status == 429


def test_values_that_rotate_do_not_escape_the_limit_of_the_address() -> None:
    site = limited("5/minute", key="header:X-API-Key")
    rotating = [site.ask(headers=header(b"%d" % number)).status for number in range(50)]
    assert rotating == [200] * 5 + [429] * 45
    assert site.ask(headers=header(b"0")).status == 200, "who is known goes on"
    assert site.ask(client="192.0.2.1", headers=header(b"51")).status == 200, "as does another address"


class Tokens(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        name = conn.headers.get("x-user")
        return (AuthCredentials(), SimpleUser(name)) if name else None


def test_user_is_the_one_that_an_authentication_outside_has_found() -> None:
    site = limited("1/minute", key="user")
    app = AuthenticationMiddleware(site.app, backend=Tokens())

    def ask(name: bytes, client: str) -> int:
        return drive(app, http_scope(headers=[(b"x-user", name)], client=(client, 50000))).status

    assert [ask(b"ann", "192.0.2.1"), ask(b"ann", "192.0.2.2")] == [200, 429]
    assert [ask(b"bob", "192.0.2.1"), ask(b"", "192.0.2.1"), ask(b"", "192.0.2.1")] == [200, 200, 429]


class Odd(BaseUser):
    is_authenticated = True

    def __init__(self, **names: str) -> None:
        self.__dict__.update(names)

    @property
    def display_name(self) -> str:
        return "shown"


class Named(Odd):
    @property
    def identity(self) -> str:
        return "u-17"


class Nameless:
    is_authenticated = True


@pytest.mark.parametrize(
    ("user", "name"),
    [
        (SimpleUser("ann"), "ann"),
        (Named(), "u-17"),
        (Odd(), "shown"),
        (Nameless(), None),
        (None, None),
        ("a text", None),
    ],
)
def test_name_of_a_user_is_whatever_starlette_has_for_it(user: object, name: str | None) -> None:
    assert exchange(user=user).user == name


class Visits(Policy):
    """Opens sessions, as a policy further out will."""

    def admit(self, exchange: Exchange) -> None:
        exchange.session_key = exchange.headers.get(b"x-visit")


def test_session_is_the_one_that_a_policy_further_out_has_found() -> None:
    from secguard.guard import Guard

    context = Context(sinks=())
    policy = RateLimitPolicy(RateLimitSettings(default="1/minute", key="session"), context)
    app = Guard(plain, policies=[Visits(context), policy])

    def ask(visit: bytes | None) -> int:
        return drive(app, http_scope(headers=[(b"x-visit", visit)] if visit else [])).status

    assert [ask(b"a"), ask(b"b"), ask(b"a"), ask(None), ask(None)] == [200, 200, 429, 200, 429]


def test_everybody_is_counted_together() -> None:
    site = limited("2/minute", key="global")
    assert [site.ask(client=f"192.0.2.{number}").status for number in range(4)] == [200, 200, 429, 429]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ann", "bob", False),
        ("ann", "ann", True),
        pytest.param(b"ann", "ann", True, id="bytes are text"),
        pytest.param(b"192.0.2.1", "192.0.2.1", False, id="bytes are no address"),
        (7, "7", True),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", ip_address("2001:db8::3"), True),
        (ip_address("192.0.2.1"), "192.0.2.1", True),
        (None, "203.0.113.9", True),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
def test_code_says_what_is_counted_by_and_addresses_keep_their_prefix(
    one: object, other: object, same: bool, waits: bool
) -> None:
    answers = iter([one, other])

    def told(exchange: Exchange) -> object:
        return next(answers)

    async def told_later(exchange: Exchange) -> object:
        return next(answers)

    site = limited("1/minute", key=told_later if waits else told)
    assert site.statuses(2) == [200, 429 if same else 200]


def test_code_may_look_at_everything_where_most_requests_are_judged_without() -> None:
    site = limited("1/minute", key=lambda exchange: f"{exchange.host} {exchange.headers.get(b'x-tenant')!r}")

    def ask(host: bytes, tenant: bytes) -> int:
        return site.ask(headers=[(b"host", host), (b"x-tenant", tenant)]).status

    assert [ask(b"a.example", b"1"), ask(b"b.example", b"1"), ask(b"a.example", b"2"), ask(b"a.example", b"1")] == [
        200, 200, 200, 429,
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [True, 1.5, ["ann"]])
def test_what_code_cannot_mean_is_an_error_of_the_app(wrong: object) -> None:
    site = limited("1/minute", key=lambda exchange: wrong)
    sent = attempt(site.app, http_scope())
    assert sent.status == 500
    assert isinstance(sent.error, TypeError)


async def priced(exchange: Exchange) -> int:
    return int(exchange.headers[b"x-cost"])


@pytest.mark.parametrize("cost", [lambda exchange: int(exchange.headers[b"x-cost"]), priced])
def test_code_says_what_a_request_costs(cost: Any) -> None:
    site = limited("10/minute", cost=cost)

    def ask(units: bytes) -> int:
        return site.ask(headers=[(b"x-cost", units)]).status

    assert [ask(b"6"), ask(b"5"), ask(b"4"), ask(b"0"), ask(b"1")] == [200, 429, 200, 200, 429]
    assert limited("10/minute", cost=cost).ask(headers=[(b"x-cost", b"11")]).status == 429, "it never fits"


@pytest.mark.parametrize("wrong", [-1, 1.5, "1", None])
def test_cost_that_is_none_is_an_error_of_the_app(wrong: object) -> None:
    site = limited("10/minute", cost=lambda exchange: wrong)
    sent = attempt(site.app, http_scope())
    assert sent.status == 500
    assert isinstance(sent.error, ValueError)


def test_cost_is_taken_from_every_limit() -> None:
    site = limited("10/second; 12/hour", cost=5, strategy="fixed-window")
    assert site.statuses(2) == [200, 200]
    site.clock.move(1)
    assert site.statuses(1) == [429]
