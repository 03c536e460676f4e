"""Who may come in by address: which lists hold for a request, and what no client can change about that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from secguard.guard import Guard
from secguard.https import HttpsPolicy
from secguard.ip_access import IPAccessMiddleware, IPAccessPolicy, IPAccessRule, IPAccessSettings, NetworkList
from secguard.policy import Context, Mode, Reply, Resolver
from secguard.proxies import ProxiesSettings
from secguard.requests import RequestsPolicy, RequestsSettings
from tests.bypasses import PATHS
from tests.frameworks import SITES, SOCKETS
from tests.helpers import EventLog, Line, drive, exchange, http_scope, plain, websocket_scope
from tests.settings_helpers import settings
from tests.test_frameworks import SERVERS, reached_by, scope_of

OFFICE = "10.0.0.0/8"
INSIDE = "10.1.2.3"
STRANGER = "203.0.113.9"
EVERYBODY = ["0.0.0.0/0", "::/0"]
ADMIN: Mapping[str, Any] = {"rules": [{"paths": ["/admin"], "allow": [OFFICE, "2001:db8::/32"]}]}


def policy(fields: Mapping[str, Any], **options: Any) -> IPAccessPolicy:
    return IPAccessPolicy(IPAccessSettings.model_validate(fields), Context(**options))


def verdict(
    fields: Mapping[str, Any], client: str | None, path: str = "/", resolver: Resolver | None = None, **more: Any
) -> str | None:
    """The code of the refusal, or None where the request passes."""
    address = None if client is None else (client, 50000)
    answer = policy(fields).admit(exchange(path, client=address, resolver=resolver, **more))
    assert answer is None or isinstance(answer, Reply)
    if answer is None:
        return None
    assert answer.status == 403
    assert not answer.cacheable
    assert answer.event is not None
    return answer.event.code.removeprefix("ip_access.")


# --- addresses ---

ADDRESSES = {
    "IPv4 in a network": ("10.1.2.3", None),
    "first address of it": ("10.0.0.0", None),
    "last address of it": ("10.255.255.255", None),
    "right behind it": ("11.0.0.0", "not-allowed"),
    "IPv4-mapped": ("::ffff:10.1.2.3", None),
    "IPv4-mapped in hexadecimal and capitals": ("::FFFF:A01:203", None),
    "IPv4-mapped with a zone id": ("::ffff:10.1.2.3%eth0", None),
    "IPv4-mapped stranger": ("::ffff:203.0.113.9", "not-allowed"),
    "IPv4-compatible, which nobody has": ("::10.1.2.3", "not-allowed"),
    "6to4 of an allowed address": ("2002:a01:203::", "not-allowed"),
    "NAT64 of an allowed address": ("64:ff9b::a01:203", "not-allowed"),
    "Teredo of an allowed address": ("2001:0:a01:203::", "not-allowed"),
    "IPv6 in a network": ("2001:db8::7", None),
    "IPv6 in another spelling": ("2001:0DB8:0:0::0007", None),
    "IPv6 stranger": ("2001:db9::7", "not-allowed"),
    "zone id": ("fe80::1%eth0", None),
    "zone id of 50,000 characters": ("fe80::1%" + "a" * 50_000, None),
    "zone id that looks like an address": ("fe80::2%10.1.2.3", "not-allowed"),
    "entry that was written mapped": ("192.0.2.129", None),
    "denied out of what is allowed": ("10.9.9.9", "denied"),
    "denied, IPv4-mapped": ("::ffff:10.9.9.9", "denied"),
    "denied, with a zone id": ("2001:db8:bad::1%x", "denied"),
}


@pytest.mark.parametrize("websocket", [False, True], ids=["http", "websocket"])
@pytest.mark.parametrize(("client", "code"), ADDRESSES.values(), ids=ADDRESSES)
def test_address_is_found_in_whatever_form(client: str, code: str | None, websocket: bool) -> None:
    fields = {
        "allow": [OFFICE, "2001:db8::/32", "fe80::1", "::ffff:192.0.2.128/121"],
        "deny": ["10.9.9.9", "2001:db8:bad::/48"],
    }
    assert verdict(fields, client, websocket=websocket) == code


UNKNOWN = {
    "unix socket": None,
    "unix socket, as granian writes it": "unix:/run/app.sock",
    "empty": "",
    "TestClient": "testclient",
    "name": "localhost",
    "address with a port": "10.1.2.3:80",
    "address in brackets": "[2001:db8::1]",
    "address in octal": "010.1.2.3",
    "list": "10.1.2.3, 10.1.2.4",
}


@pytest.mark.parametrize("client", UNKNOWN.values(), ids=UNKNOWN)
@pytest.mark.parametrize(
    "fields", [{"allow": [OFFICE]}, {"deny": [OFFICE]}, {"allow": EVERYBODY}], ids=["allow", "deny", "everybody"]
)
def test_who_has_no_address_is_refused_where_there_is_a_list(fields: Mapping[str, Any], client: str | None) -> None:
    assert verdict(fields, client) == "unknown"
    assert verdict({**fields, "allow_unknown_clients": True}, client) is None


def test_who_has_no_address_passes_where_no_list_has_a_say() -> None:
    assert verdict(ADMIN, None, "/public") is None
    assert verdict(ADMIN, None, "/admin") == "unknown"
    assert verdict({"rules": [{"paths": ["/metrics"]}]}, None, "/metrics") == "unknown"


def test_behind_a_trusted_unix_socket_there_is_an_address() -> None:
    resolver = ProxiesSettings(trusted=["unix"]).resolver()
    inside = [(b"x-forwarded-for", INSIDE.encode())]
    assert verdict({"allow": [OFFICE]}, None, resolver=resolver, headers=inside) is None
    assert verdict({"allow": [OFFICE]}, None, headers=inside) == "unknown"


# --- what a client writes ---

SPOOFED: dict[str, list[Line]] = {
    "X-Forwarded-For": [(b"x-forwarded-for", b"10.1.2.3")],
    "X-Forwarded-For with more in front": [(b"x-forwarded-for", b"127.0.0.1, 10.1.2.3")],
    "X-Forwarded-For twice": [(b"x-forwarded-for", b"10.1.2.3"), (b"x-forwarded-for", b"10.1.2.3")],
    "X-Forwarded-For, mapped": [(b"x-forwarded-for", b"::ffff:10.1.2.3")],
    "Forwarded": [(b"forwarded", b"for=10.1.2.3")],
    "Forwarded, quoted": [(b"forwarded", b'for="10.1.2.3";by="10.0.0.1"')],
    "X-Real-IP": [(b"x-real-ip", b"10.1.2.3")],
    "other words for it": [
        (name, b"10.1.2.3")
        for name in (b"client-ip", b"x-client-ip", b"true-client-ip", b"cf-connecting-ip", b"x-remote-addr")
    ],
    "Host": [(b"host", b"10.1.2.3")],
}


@pytest.mark.parametrize("websocket", [False, True], ids=["http", "websocket"])
@pytest.mark.parametrize("headers", SPOOFED.values(), ids=SPOOFED)
def test_nobody_gets_in_by_what_is_written(headers: list[Line], websocket: bool) -> None:
    fields = {"allow": [OFFICE]}
    assert verdict(fields, STRANGER, headers=headers, websocket=websocket) == "not-allowed"
    # Nor where proxies are trusted, and the client is none of them.
    resolver = ProxiesSettings(trusted=["192.0.2.1"]).resolver()
    assert verdict(fields, STRANGER, resolver=resolver, headers=headers, websocket=websocket) == "not-allowed"


@pytest.mark.parametrize("headers", SPOOFED.values(), ids=SPOOFED)
def test_nobody_gets_out_of_a_deny_list_by_what_is_written(headers: list[Line]) -> None:
    assert verdict({"deny": ["203.0.113.0/24"]}, STRANGER, headers=headers) == "denied"


BEHIND_A_PROXY = {
    "the client that the proxy saw": ("203.0.113.9", "not-allowed"),
    "an address of the office, written by the client in front": ("10.1.2.3, 203.0.113.9", "not-allowed"),
    "several of them": ("10.1.2.3, 10.1.2.4, 203.0.113.9", "not-allowed"),
    "the proxy's own address, written by the client": ("192.0.2.1, 203.0.113.9", "not-allowed"),
    "an office behind the proxy": ("203.0.113.9, 10.1.2.3", None),
    "that office, mapped": ("10.1.2.3, ::ffff:10.1.2.3", None),
    "that office, with a port": ("203.0.113.9, 10.1.2.3:4711", None),
    "garbage": ("10.1.2.3, garbage", "not-allowed"),
    "nothing": ("", "not-allowed"),
    "zone id of 50,000 characters": ("10.1.2.3, fe80::1%" + "a" * 50_000, "not-allowed"),
}


@pytest.mark.parametrize("websocket", [False, True], ids=["http", "websocket"])
@pytest.mark.parametrize(("written", "code"), BEHIND_A_PROXY.values(), ids=BEHIND_A_PROXY)
def test_the_rightmost_address_that_is_not_trusted_decides(written: str, code: str | None, websocket: bool) -> None:
    proxy = "192.0.2.1"
    resolver = ProxiesSettings(trusted=[proxy]).resolver()
    headers = [(b"x-forwarded-for", written.encode())]
    assert verdict({"allow": [OFFICE]}, proxy, resolver=resolver, headers=headers, websocket=websocket) == code


def test_forwarded_decides_where_it_is_the_header_and_only_there() -> None:
    proxy, fields = "192.0.2.1", {"allow": [OFFICE]}
    resolver = ProxiesSettings(trusted=[proxy], header="forwarded").resolver()

    def behind(*headers: Line) -> str | None:
        return verdict(fields, proxy, resolver=resolver, headers=headers)

    assert behind((b"forwarded", b"for=10.1.2.3, for=203.0.113.9")) == "not-allowed"
    assert behind((b"forwarded", b'for=203.0.113.9, for="[::ffff:10.1.2.3]:4711"')) is None
    assert behind((b"forwarded", b"for=203.0.113.9"), (b"x-forwarded-for", b"10.1.2.3")) == "not-allowed"
    assert behind((b"x-forwarded-for", b"10.1.2.3")) == "not-allowed"


# --- which lists hold ---

PUBLIC_WITH_ADMIN: Mapping[str, Any] = {
    "deny": ["198.51.100.0/24"],
    "rules": [
        {"paths": ["/admin", "/ops/{team}"], "allow": [OFFICE, STRANGER], "deny": ["10.9.0.0/16"]},
        {"paths": ["/admin/keys"], "allow": ["10.1.0.0/16"]},
        {"paths": ["/admin/health"], "allow": EVERYBODY},
        {"paths": ["/metrics"]},
    ],
}
OFFICE_WITH_HOOK: Mapping[str, Any] = {
    "allow": [OFFICE],
    "deny": ["198.51.100.0/24"],
    "rules": [{"paths": ["/hook"], "allow": EVERYBODY}, {"paths": ["/hook/ci"], "allow": [STRANGER]}],
}
DECIDED: dict[str, tuple[Mapping[str, Any], str, str, str | None]] = {
    "no rule, no allow: everybody": (PUBLIC_WITH_ADMIN, "8.8.8.8", "/", None),
    "no rule: the section denies": (PUBLIC_WITH_ADMIN, "198.51.100.1", "/", "denied"),
    "a rule lets its own in": (PUBLIC_WITH_ADMIN, INSIDE, "/admin/users", None),
    "and nobody else": (PUBLIC_WITH_ADMIN, "8.8.8.8", "/admin/users", "not-allowed"),
    "a rule is for whole segments": (PUBLIC_WITH_ADMIN, "8.8.8.8", "/administrator", None),
    "a rule with a name in it": (PUBLIC_WITH_ADMIN, "8.8.8.8", "/ops/web/x", "not-allowed"),
    "a rule denies": (PUBLIC_WITH_ADMIN, "10.9.1.1", "/admin", "denied"),
    "a rule denies under its paths only": (PUBLIC_WITH_ADMIN, "10.9.1.1", "/", None),
    "the more specific rule decides": (PUBLIC_WITH_ADMIN, "10.2.0.1", "/admin/keys", "not-allowed"),
    "alone: its own come in": (PUBLIC_WITH_ADMIN, INSIDE, "/admin/keys/7", None),
    "alone: whom the other lets in does not": (PUBLIC_WITH_ADMIN, STRANGER, "/admin/keys", "not-allowed"),
    "the more specific rule opens": (PUBLIC_WITH_ADMIN, "8.8.8.8", "/admin/health", None),
    "but whom the other rule denies stays out": (PUBLIC_WITH_ADMIN, "10.9.1.1", "/admin/health", "denied"),
    "and whom the section denies": (PUBLIC_WITH_ADMIN, "198.51.100.1", "/admin/health", "denied"),
    "a rule without allow lets nobody in": (PUBLIC_WITH_ADMIN, INSIDE, "/metrics", "not-allowed"),
    "no rule: the section's allow decides": (OFFICE_WITH_HOOK, STRANGER, "/", "not-allowed"),
    "and lets its own in": (OFFICE_WITH_HOOK, INSIDE, "/", None),
    "a rule opens what the section closes": (OFFICE_WITH_HOOK, "8.8.8.8", "/hook", None),
    "which does not lift what the section denies": (OFFICE_WITH_HOOK, "198.51.100.1", "/hook", "denied"),
    "nor what stands beside it": (OFFICE_WITH_HOOK, "8.8.8.8", "/hooked", "not-allowed"),
    "a rule decides in the place of the section": (OFFICE_WITH_HOOK, INSIDE, "/hook/ci", "not-allowed"),
}


@pytest.mark.parametrize("websocket", [False, True], ids=["http", "websocket"])
@pytest.mark.parametrize(("fields", "client", "path", "code"), DECIDED.values(), ids=DECIDED)
def test_most_specific_rule_decides_and_every_deny_holds(
    fields: Mapping[str, Any], client: str, path: str, code: str | None, websocket: bool
) -> None:
    assert verdict(fields, client, path, websocket=websocket) == code


ROOTED: dict[str, tuple[Mapping[str, Any], str, dict[str, str], str | None]] = {
    "server's root path in front": (ADMIN, "/api/admin/x", {"root_path": "/api"}, "not-allowed"),
    "server's root path left alone": (ADMIN, "/admin/x", {"root_path": "/api"}, "not-allowed"),
    "app's root path in front": (ADMIN, "/api/admin/x", {"app_root": "/api"}, "not-allowed"),
    "app's root path over the server's": (ADMIN, "/v1/admin", {"root_path": "/v1", "app_root": "/api"}, "not-allowed"),
    "rule that names the root path": (
        {"rules": [{"paths": ["/api/admin"], "allow": [OFFICE]}]},
        "/admin/x",
        {"root_path": "/api"},
        "not-allowed",
    ),
    "what merely begins like the root path": (ADMIN, "/apiadmin/x", {"root_path": "/api"}, "not-allowed"),
    "a page beside it": (ADMIN, "/api/public", {"root_path": "/api"}, None),
    "opened, with the root path in front": (OFFICE_WITH_HOOK, "/api/hook", {"root_path": "/api"}, None),
    "opened, with the root path left alone": (OFFICE_WITH_HOOK, "/hook", {"root_path": "/api"}, None),
    "opened, with the app's own root path": (OFFICE_WITH_HOOK, "/api/hook", {"app_root": "/api"}, None),
    "not opened where frameworks disagree": (OFFICE_WITH_HOOK, "/apihook", {"root_path": "/api"}, "not-allowed"),
    "nor where the name stands further in": (
        OFFICE_WITH_HOOK,
        "/hook/api/secret",
        {"root_path": "/api"},
        "not-allowed",
    ),
    "opened out of a rule for everything": (
        {"rules": [{"paths": ["/"], "allow": [OFFICE]}, {"paths": ["/hook"], "allow": EVERYBODY}]},
        "/api/hook",
        {"root_path": "/api"},
        None,
    ),
    "a closed part of what is open": (OFFICE_WITH_HOOK, "/api/hook/ci", {"root_path": "/api"}, "not-allowed"),
}


@pytest.mark.parametrize(("fields", "path", "roots", "code"), ROOTED.values(), ids=ROOTED)
def test_root_paths_neither_lift_a_rule_nor_stop_one_that_opens(
    fields: Mapping[str, Any], path: str, roots: dict[str, Any], code: str | None
) -> None:
    assert verdict(fields, "8.8.8.8", path, **roots) == code


POISONED = ["good/evil?@x:99", "evil/public?", "example.com/public#", "example.com:80/public/..", "public"]


@pytest.mark.parametrize("host", POISONED)
def test_a_poisoned_host_does_not_move_the_path(host: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(Request(scope).url.path)(scope, receive, send)

    log = EventLog()
    guard = IPAccessMiddleware(app, IPAccessSettings.model_validate(ADMIN), sinks=(log,))
    assert drive(guard, http_scope("/admin", host=host.encode())).status == 403
    assert drive(guard, http_scope("/public", host=f"{host}/admin".encode())).status == 200
    assert log.told == [("refused", "ip_access.not-allowed")]


_paths = st.sampled_from(("/", "/admin", "/admin/keys", "/hook", "/hook/ci", "/metrics", "/ops/web", "/hooked"))


@given(
    st.sampled_from((PUBLIC_WITH_ADMIN, OFFICE_WITH_HOOK, ADMIN)),
    st.sampled_from((INSIDE, STRANGER, "8.8.8.8", "10.9.1.1", "198.51.100.1", "2001:db8::1")),
    _paths,
    _paths,
)
def test_a_root_path_never_lets_in_whom_every_reading_keeps_out(
    fields: Mapping[str, Any], client: str, root: str, path: str
) -> None:
    """Whichever way a framework routes it: where each of the paths is closed on its own, the request is."""
    seen = exchange(root.rstrip("/") + path, root_path=root, client=(client, 1))
    alone = [verdict(fields, client, one) for one in seen.paths]
    if None not in alone:
        assert policy(fields).admit(seen) is not None
    if not any(alone):
        assert policy(fields).admit(seen) is None
    if verdict(fields, client, seen.routed) is not None:
        assert policy(fields).admit(seen) is not None


# --- in front of frameworks ---


def behind(fields: Mapping[str, Any], app: ASGIApp) -> Guard:
    context = Context(sinks=())
    section = IPAccessSettings.model_validate(fields)
    return Guard(app, policies=[RequestsPolicy(RequestsSettings(), context), IPAccessPolicy(section, context)])


def attempts(server: str, client: str, *, websocket: bool = False) -> list[tuple[str, Any]]:
    return [
        (target, {**scope_of(target, *SERVERS[server], websocket=websocket), "client": (client, 1)}) for target in PATHS
    ]


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("site", SITES)
def test_no_trick_reaches_the_administration(site: str, server: str) -> None:
    guard = behind(ADMIN, SITES[site])
    pages = reached_by(guard, attempts(server, STRANGER))
    assert {target: page for target, page in pages.items() if page == "admin"} == {}
    assert "admin" in reached_by(guard, attempts(server, INSIDE)).values()


@pytest.mark.parametrize("site", SOCKETS)
def test_no_trick_opens_a_websocket_of_the_administration(site: str) -> None:
    guard = behind(ADMIN, SITES[site])
    for server in SERVERS:
        pages = reached_by(guard, attempts(server, STRANGER, websocket=True))
        assert {target: page for target, page in pages.items() if page == "admin"} == {}, server
    assert "admin" in reached_by(guard, attempts("no root path", INSIDE, websocket=True)).values()


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("site", SITES)
def test_what_one_rule_opens_opens_nothing_else(site: str, server: str) -> None:
    fields = {"allow": [OFFICE], "rules": [{"paths": ["/hook"], "allow": EVERYBODY}]}
    pages = reached_by(behind(fields, SITES[site]), attempts(server, STRANGER))
    assert {target: page for target, page in pages.items() if page != "hook"} == {}


# --- the answer, and the Event ---


def refusal(fields: Mapping[str, Any], client: str | None, path: str = "/", **options: Any) -> Reply:
    answer = policy(fields, **options).admit(exchange(path, client=client and (client, 1)))
    assert isinstance(answer, Reply)
    assert answer.event is not None
    return answer


DETAILS: dict[str, tuple[Mapping[str, Any], str | None, str, str, dict[str, object]]] = {
    "a list of the section": (PUBLIC_WITH_ADMIN, "198.51.100.1", "/", "ip_access.denied", {"list": "deny"}),
    "a list of a rule": (
        PUBLIC_WITH_ADMIN,
        "10.9.1.1",
        "/admin",
        "ip_access.denied",
        {"rule": "/admin, /ops/{team}", "list": "deny"},
    ),
    "a stranger everywhere": (OFFICE_WITH_HOOK, STRANGER, "/", "ip_access.not-allowed", {}),
    "a stranger under a rule": (ADMIN, STRANGER, "/admin", "ip_access.not-allowed", {"rule": "/admin"}),
    "nobody has an address": (ADMIN, None, "/admin", "ip_access.unknown", {"rule": "/admin", "peer": None}),
    "something else than an address": (
        {"deny": [OFFICE]},
        "testclient",
        "/",
        "ip_access.unknown",
        {"peer": "testclient"},
    ),
}


@pytest.mark.parametrize(("fields", "client", "path", "code", "detail"), DETAILS.values(), ids=DETAILS)
def test_event_says_which_list_and_not_what_is_in_it(
    fields: Mapping[str, Any], client: str | None, path: str, code: str, detail: dict[str, object]
) -> None:
    event = refusal(fields, client, path).event
    assert event is not None
    assert (event.code, event.action, event.status) == (code, "refused", 403)
    assert event.detail == detail
    assert OFFICE not in f"{event.reason} {event.detail}"


def test_event_tells_what_to_do_about_an_unknown_client() -> None:
    event = refusal(ADMIN, None, "/admin").event
    assert event is not None
    assert "SECGUARD_PROXIES__TRUSTED=unix" in event.reason
    assert 'TestClient(app, client=("127.0.0.1", 50000))' in event.reason


def test_refusal_hides_what_is_there_where_it_is_told_to() -> None:
    for fields, client in ((ADMIN, STRANGER), (ADMIN, None), ({"deny": [STRANGER]}, STRANGER)):
        shown = refusal(fields, client, "/admin")
        hidden = refusal({**fields, "refusal": 404}, client, "/admin")
        assert (shown.status, shown.unfound) == (403, False)
        assert (hidden.status, hidden.unfound) == (404, True)
        assert hidden.body == b"Not Found\n"
        assert hidden.event is not None
        assert hidden.event.status == 404


def test_client_learns_the_reason_in_development_only() -> None:
    assert b"no allow list" in refusal({"allow": [OFFICE]}, STRANGER, environment="development").body
    assert refusal({"allow": [OFFICE]}, STRANGER).body == b"Forbidden\n"
    assert (
        b"nobody may come in" in refusal({"rules": [{"paths": ["/x"]}]}, INSIDE, "/x", environment="development").body
    )


# --- through the Guard, alone and among others ---


def alone(log: EventLog, mode: Mode = "enforce") -> ASGIApp:
    return IPAccessMiddleware(plain, IPAccessSettings(allow=[OFFICE], mode=mode), sinks=(log,))


def in_a_guard(log: EventLog, mode: Mode = "enforce") -> ASGIApp:
    section = IPAccessSettings(allow=[OFFICE], mode=mode)
    return Guard(plain, policies=[IPAccessPolicy(section, Context(sinks=(log,)))])


both = pytest.mark.parametrize("build", [alone, in_a_guard])


@both
def test_request_is_answered(build: Callable[..., ASGIApp]) -> None:
    log = EventLog()
    app = build(log)
    assert drive(app, http_scope(client=(INSIDE, 1))).status == 200
    refused = drive(app, http_scope())
    assert refused.status == 403
    assert refused.header(b"cache-control") == b"no-store"
    assert log.told == [("refused", "ip_access.not-allowed")]
    assert log.last.client == STRANGER


@both
def test_websocket_is_denied(build: Callable[..., ASGIApp]) -> None:
    log = EventLog()
    app = build(log)
    assert drive(app, websocket_scope(client=(INSIDE, 1))).types == ["websocket.accept"]
    denied = drive(app, websocket_scope())
    assert denied.types == ["websocket.http.response.start", "websocket.http.response.body"]
    assert denied.status == 403
    assert drive(app, websocket_scope(denial=False)).closed == 1008
    assert log.told == [("refused", "ip_access.not-allowed")] * 2


@both
def test_refusal_can_be_rehearsed(build: Callable[..., ASGIApp]) -> None:
    log = EventLog()
    app = build(log, "report")
    assert drive(app, http_scope()).status == 200
    assert drive(app, websocket_scope()).status == 101
    assert log.told == [("rehearsed", "ip_access.not-allowed")] * 2


def test_starlette_adds_it_as_a_middleware() -> None:
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("ok"))])
    app.add_middleware(IPAccessMiddleware, settings=IPAccessSettings(allow=[OFFICE]))
    assert TestClient(app, client=(INSIDE, 1)).get("/").status_code == 200
    assert TestClient(app, client=(STRANGER, 1)).get("/").status_code == 403
    assert TestClient(app).get("/").status_code == 403


def test_settings_put_it_behind_the_redirect() -> None:
    made = settings(
        {
            "SECGUARD_IP_ACCESS__RULES": '[{"paths": "/admin", "allow": "10.0.0.0/8, ::1"}]',
            "SECGUARD_IP_ACCESS__REFUSAL": "404",
        }
    )
    policies = made.policies(sinks=())
    kinds = [type(one) for one in policies]
    own = policies[kinds.index(IPAccessPolicy)]
    assert kinds.index(HttpsPolicy) < kinds.index(IPAccessPolicy)
    answer = own.admit(exchange("/admin"))
    assert isinstance(answer, Reply)
    assert answer.status == 404
    assert own.admit(exchange("/admin", client=("::1", 1))) is None


def test_a_live_list_is_obeyed_at_once() -> None:
    banned, friends = NetworkList(), NetworkList()
    section = IPAccessSettings(allow=[OFFICE, friends], deny=[banned])
    own = IPAccessPolicy(section)
    request = exchange()
    assert own.admit(request) is not None
    friends.add(STRANGER)
    assert own.admit(request) is None
    banned.add("203.0.113.0/24")
    assert own.admit(request) is not None
    banned.discard("203.0.113.0/24")
    assert own.admit(request) is None
    friends.replace([])
    assert own.admit(request) is not None


# What is remembered


def test_flood_of_addresses_leaves_a_bounded_memory() -> None:
    policy = IPAccessPolicy(IPAccessSettings(deny=["203.0.113.9"]))
    for number in range(10_000):
        assert policy.admit(exchange(client=(f"198.51.{number // 256}.{number % 256}", 1))) is None
        assert policy.admit(exchange(client=(f"fe80::1%{'z' * 50_000}{number}", 1))) is None
    assert len(policy._welcome) <= 4096
    assert max(map(len, policy._welcome)) < 50
    assert policy.admit(exchange(client=("203.0.113.9", 1))) is not None


def test_client_that_may_come_in_may_not_come_in_everywhere() -> None:
    office = IPAccessRule(paths=["/admin"], allow=["10.0.0.0/8"])
    policy = IPAccessPolicy(IPAccessSettings(rules=[office]))
    client = ("198.51.100.7", 1)
    for _ in range(2):
        assert policy.admit(exchange("/", client=client)) is None
        assert policy.admit(exchange("/admin", client=client)) is not None


def test_list_that_code_changes_is_asked_each_time() -> None:
    banned = NetworkList()
    policy = IPAccessPolicy(IPAccessSettings(deny=["192.0.2.1", banned]))
    client = ("198.51.100.7", 1)
    assert policy.admit(exchange(client=client)) is None
    banned.add("198.51.100.7")
    assert policy.admit(exchange(client=client)) is not None
