"""The redirect from plain http."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from secguard.guard import Guard
from secguard.https import HttpsMiddleware, HttpsPolicy, HttpsSettings
from secguard.policy import Context, Mode, Policy, Reply, Resolver
from secguard.proxies import ProxiesSettings
from tests.helpers import EventLog, drive, exchange, http_scope, plain, websocket_scope

PROXY = ("10.0.0.1", 40000)
VISITOR = ("8.8.4.4", 40000)
BEHIND_PROXY = ProxiesSettings(trusted=["10.0.0.1"], proto="x-forwarded-proto", host="x-forwarded-host").resolver()


def policy(
    redirect: Literal["auto", "always", "off"] = "always", *, context: Context | None = None, **fields: Any
) -> HttpsPolicy:
    return HttpsPolicy(HttpsSettings(redirect=redirect, **fields), context)


def verdict(guarding: Policy, path: str = "/", **more: Any) -> Reply | None:
    answer = guarding.admit(exchange(path, **{"scheme": "ws" if more.get("websocket") else "http", **more}))
    assert answer is None or isinstance(answer, Reply)
    return answer


def location(reply: Reply | None) -> str:
    assert reply is not None
    return dict(reply.headers)[b"location"].decode("ascii")


# What is proven


class Case:
    """One deployment: what the server sees of a request that reached it without TLS."""

    def __init__(
        self, *headers: tuple[bytes, bytes], client: tuple[str, Any] | None = VISITOR, resolver: Resolver | None = None
    ) -> None:
        self.request: dict[str, Any] = {"headers": headers, "client": client}
        self.resolver = resolver

    def settle(self, redirect: Literal["auto", "always", "off"], log: EventLog, *, served_tls: bool) -> Reply | None:
        context = Context(sinks=(log,), resolver=self.resolver) if self.resolver else Context(sinks=(log,))
        guarding = policy(redirect, context=context)
        if served_tls:
            assert verdict(guarding, scheme="https", client=VISITOR, resolver=self.resolver) is None
        return verdict(guarding, resolver=self.resolver, **self.request)


SAYS_HTTP = (b"x-forwarded-proto", b"http")
SAYS_HTTPS = (b"x-forwarded-proto", b"https")
FOR = (b"x-forwarded-for", b"203.0.113.9")

PROVEN = {
    "a trusted proxy says http": (Case(SAYS_HTTP, client=PROXY, resolver=BEHIND_PROXY), False),
    "a trusted proxy says http, and this process served TLS": (
        Case(SAYS_HTTP, client=PROXY, resolver=BEHIND_PROXY),
        True,
    ),
    "this process served TLS, and this came straight from the internet": (Case(), True),
}
UNPROVEN = {
    "somebody connects directly": (Case(), False),
    "a stranger says http": (Case(SAYS_HTTP), False),
    "a stranger says http where a proxy is trusted": (Case(SAYS_HTTP, resolver=BEHIND_PROXY), False),
    "a trusted proxy does not say": (Case(FOR, client=PROXY, resolver=BEHIND_PROXY), False),
    "a trusted proxy says nonsense": (
        Case((b"x-forwarded-proto", b"gopher"), client=PROXY, resolver=BEHIND_PROXY),
        False,
    ),
    "an unknown proxy forwards": (Case(FOR, client=PROXY), False),
    "the server has rewritten the client": (Case(FOR, client=("203.0.113.9", 0)), False),
    "unix socket": (Case(client=None), False),
    "Starlette's TestClient": (Case(client=("testclient", 50000)), False),
    "TLS elsewhere, and the proxy's header is there": (Case(FOR), True),
    "TLS elsewhere, and a CDN's header is there": (Case((b"cf-visitor", b"{}")), True),
    "TLS elsewhere, and a Via header is there": (Case((b"via", b"1.1 varnish")), True),
    "TLS elsewhere, and the server has rewritten the client": (Case(client=("8.8.4.4", "0")), True),
    "TLS elsewhere, and the peer is on loopback": (Case(client=("127.0.0.1", 5)), True),
    "TLS elsewhere, and the peer is in a private network": (Case(client=("172.18.0.3", 5)), True),
    "TLS elsewhere, and a unix socket": (Case(client=("", "0")), True),
    "TLS elsewhere, and Starlette's TestClient": (Case(client=("testclient", 50000)), True),
    "TLS elsewhere, and a trusted proxy that does not say": (Case(client=PROXY, resolver=BEHIND_PROXY), True),
    "TLS elsewhere, and a stranger where a proxy is trusted": (Case(resolver=BEHIND_PROXY), True),
}
SECURE = {
    "a trusted proxy says https": (Case(SAYS_HTTPS, client=PROXY, resolver=BEHIND_PROXY), False),
}


def table(*cases: dict[str, tuple[Case, bool]]) -> pytest.MarkDecorator:
    rows = [pytest.param(*row, id=name) for group in cases for name, row in group.items()]
    return pytest.mark.parametrize(("case", "served_tls"), rows)


@table(PROVEN)
def test_auto_redirects_what_is_proven_plain(case: Case, served_tls: bool) -> None:
    log = EventLog()
    assert location(case.settle("auto", log, served_tls=served_tls)) == "https://example.com/"
    assert log.codes == []


@table(UNPROVEN)
def test_auto_lets_pass_what_is_not_proven_and_says_so(case: Case, served_tls: bool) -> None:
    log = EventLog()
    assert case.settle("auto", log, served_tls=served_tls) is None
    assert log.told == [("noticed", "https.unproven")]


@table(PROVEN, UNPROVEN)
def test_always_redirects_whatever_is_not_secure(case: Case, served_tls: bool) -> None:
    assert location(case.settle("always", EventLog(), served_tls=served_tls)) == "https://example.com/"


@table(PROVEN, UNPROVEN, SECURE)
def test_off_redirects_nothing_and_says_nothing(case: Case, served_tls: bool) -> None:
    log = EventLog()
    assert case.settle("off", log, served_tls=served_tls) is None
    assert log.codes == []


@pytest.mark.parametrize("redirect", ["auto", "always"])
@table(SECURE)
def test_secure_request_passes(case: Case, served_tls: bool, redirect: Literal["auto", "always"]) -> None:
    log = EventLog()
    assert case.settle(redirect, log, served_tls=served_tls) is None
    assert log.codes == []


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        pytest.param([SAYS_HTTPS], ("127.0.0.1", 5), id="a header may have made the server say https"),
        pytest.param([], ("203.0.113.9", 0), id="the server has rewritten the client"),
    ],
)
def test_scheme_that_a_header_may_have_set_is_no_tls_of_ours(
    headers: list[tuple[bytes, bytes]], client: tuple[str, int]
) -> None:
    guarding = policy("auto", context=Context(sinks=()))
    assert verdict(guarding, scheme="https", headers=headers, client=client) is None
    assert verdict(guarding, client=VISITOR) is None


def test_one_app_does_not_learn_from_another() -> None:
    one, other = policy("auto", context=Context(sinks=())), policy("auto", context=Context(sinks=()))
    assert verdict(one, scheme="https", client=VISITOR) is None
    assert verdict(other, client=VISITOR) is None
    assert verdict(one, client=VISITOR) is not None


def test_client_that_a_proxy_re_encrypts_for_is_redirected() -> None:
    guarding = policy("auto", context=Context(resolver=BEHIND_PROXY))
    reply = verdict(guarding, scheme="https", headers=[SAYS_HTTP], client=PROXY, resolver=BEHIND_PROXY)
    assert location(reply) == "https://example.com/"


@pytest.mark.parametrize(
    ("client", "advice"),
    [
        (("172.18.0.3", 5), "SECGUARD_PROXIES__TRUSTED=172.18.0.3 and SECGUARD_PROXIES__PROTO=x-forwarded-proto"),
        (("fe80::1%eth0", 5), "SECGUARD_PROXIES__TRUSTED=fe80::1 and"),
        (None, "SECGUARD_PROXIES__TRUSTED=unix and"),
        (("evil\nname", 5), "SECGUARD_PROXIES__TRUSTED=its address and"),
        (("203.0.113.9", 0), "--no-proxy-headers"),
    ],
)
def test_what_is_not_proven_is_told_once_with_the_remedy(client: tuple[str, int] | None, advice: str) -> None:
    log = EventLog()
    guarding = policy("auto", context=Context(sinks=(log,)))
    for _ in range(3):
        assert verdict(guarding, client=client) is None
    (event,) = log.events
    assert advice in event.reason
    assert "SECGUARD_HTTPS__REDIRECT" in event.reason
    assert event.detail["peer"] == (client[0] if client else None)


def test_nothing_happens_in_development() -> None:
    log = EventLog()
    assert verdict(policy(context=Context(environment="development", sinks=(log,)))) is None
    assert log.codes == []


# What is sent


@pytest.mark.parametrize(("permanent", "status"), [(False, 307), (True, 308)])
def test_method_and_body_are_kept_and_no_cache_keeps_the_redirect(permanent: bool, status: int) -> None:
    reply = verdict(policy(permanent=permanent), method="POST")
    assert reply is not None
    assert reply.status == status
    assert not reply.cacheable
    assert reply.event is not None
    assert (reply.event.code, reply.event.status) == ("https.plain", status)


@pytest.mark.parametrize(
    ("more", "target"),
    [
        pytest.param({"path": "/a/b"}, "https://example.com/a/b", id="path"),
        pytest.param(
            {"query_string": b"a=1&b=%20+c"}, "https://example.com/?a=1&b=%20+c", id="query as it was written"
        ),
        pytest.param({"raw_path": b"/a%2Fb%20c"}, "https://example.com/a%2Fb%20c", id="path as it was written"),
        pytest.param({"path": "/ä b%?", "raw_path": None}, "https://example.com/%C3%A4%20b%25%3F", id="no raw path"),
        pytest.param({"path": "/\udcff", "raw_path": None}, "https://example.com/%ED%B3%BF", id="lone surrogate"),
        pytest.param({"raw_path": b"//evil.test/x"}, "https://example.com//evil.test/x", id="two slashes"),
        pytest.param({"raw_path": b"/\\evil.test"}, "https://example.com/%5Cevil.test", id="backslash"),
        pytest.param({"raw_path": b"/\r\nSet-Cookie: a=b"}, "https://example.com/%0D%0ASet-Cookie:%20a=b", id="CR LF"),
        pytest.param({"query_string": b"\r\n\x00#\xff"}, "https://example.com/?%0D%0A%00%23%FF", id="odd query"),
        pytest.param({"host": b"EXAMPLE.com."}, "https://example.com/", id="host in one spelling"),
        pytest.param({"host": b"example.com:80"}, "https://example.com/", id="port of http is dropped"),
        pytest.param({"host": b"example.com:443"}, "https://example.com/", id="port of https is dropped"),
        pytest.param({"host": b"example.com:8000"}, "https://example.com:8000/", id="any other port is kept"),
        pytest.param({"host": b"[2001:DB8::1]:80"}, "https://[2001:db8::1]/", id="IPv6 literal"),
        pytest.param({"host": b"[2001:DB8::1]:81"}, "https://[2001:db8::1]:81/", id="IPv6 literal with a port"),
        pytest.param({"path": "/x", "app_root": "/api"}, "https://example.com/api/x", id="proxy took the prefix off"),
        pytest.param({"path": "/x", "root_path": "/api/"}, "https://example.com/api/x", id="server knows the prefix"),
        pytest.param({"path": "/api/x", "root_path": "/api"}, "https://example.com/api/x", id="prefix is in the path"),
        pytest.param({"path": "/api", "root_path": "/api"}, "https://example.com/api", id="prefix is the path"),
        pytest.param(
            {"path": "/apix", "root_path": "/api"}, "https://example.com/api/apix", id="prefix of whole segments"
        ),
        pytest.param({"path": "/ä/x", "root_path": "/ä"}, "https://example.com/%C3%A4/x", id="prefix beyond ASCII"),
    ],
)
def test_target_is_the_same_address_under_https(more: dict[str, Any], target: str) -> None:
    more = {"path": "/", **more}
    if isinstance(raw := more.get("raw_path", b""), bytes) and not raw:
        more["raw_path"] = {"/ä/x": b"/%C3%A4/x"}.get(more["path"], more["path"].encode())
    assert location(verdict(policy(), **more)) == target


@pytest.mark.parametrize("path", ["http://evil.test/admin", "*", "evil.test", ""])
def test_target_without_a_path_is_refused(path: str) -> None:
    reply = verdict(policy(), path)
    assert reply is not None
    assert reply.status == 400
    assert reply.event is not None
    assert reply.event.code == "https.plain"


@pytest.mark.parametrize("host", [None, b"", b"evil.test/x", b"evil.test\r\n", b"a@b", b"a b", b"a:99999", b"[::1"])
def test_bad_host_is_refused_and_never_redirected_to(host: bytes | None) -> None:
    reply = verdict(policy(), host=host)
    assert reply is not None
    assert reply.status == 400
    assert b"location" not in dict(reply.headers)


def test_host_is_the_one_that_a_trusted_proxy_forwards() -> None:
    headers = [SAYS_HTTP, (b"x-forwarded-host", b"public.test")]
    guarding = policy("auto", context=Context(resolver=BEHIND_PROXY))
    reply = verdict(guarding, headers=headers, client=PROXY, resolver=BEHIND_PROXY, host=b"internal:8000")
    assert location(reply) == "https://public.test/"


@given(raw=st.binary(max_size=60), query=st.binary(max_size=60), host=st.binary(max_size=60), root=st.text(max_size=9))
def test_target_never_leaves_the_host_that_was_asked_for(raw: bytes, query: bytes, host: bytes, root: str) -> None:
    asked = exchange(raw_path=b"/" + raw, query_string=query, host=host, root_path=f"/{root}", scheme="http")
    reply = policy().admit(asked)
    assert isinstance(reply, Reply)
    if reply.status == 307:
        target = location(reply)
        assert target.startswith(f"https://{asked.host}".removesuffix(":80").removesuffix(":443") + "/")
        assert target.isprintable()
        assert not set(target) & set(' "<>\\^`{|}#')


# What stays reachable


@pytest.mark.parametrize(
    ("path", "more", "passes"),
    [
        ("/.well-known/acme-challenge/token", {}, True),
        ("/.well-known/acme-challenge", {}, True),
        ("/api/.well-known/acme-challenge/token", {"root_path": "/api"}, True),
        ("/.well-known/acme-challenges", {}, False),
        ("/x/.well-known/acme-challenge/token", {}, False),
        ("/", {}, False),
    ],
)
def test_acme_challenge_stays_reachable(path: str, more: dict[str, Any], passes: bool) -> None:
    assert (verdict(policy(), path, **more) is None) is passes


def test_exempt_paths_can_be_named() -> None:
    guarding = policy(exempt_paths=["/healthz", "/nodes/{id}/ping"])
    assert verdict(guarding, "/healthz") is None
    assert verdict(guarding, "/nodes/7/ping") is None
    assert verdict(guarding, "/healthzx") is not None
    assert verdict(guarding, "/.well-known/acme-challenge/x") is not None


def test_no_path_need_be_exempt() -> None:
    assert verdict(policy(exempt_paths=[]), "/.well-known/acme-challenge/x") is not None


@pytest.mark.parametrize("fields", [{"exempt_paths": ["healthz"]}, {"redirect": "maybe"}, {"hsts": True}])
def test_mistake_stops_the_start(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpsSettings(**fields)


def test_section_survives_its_own_dump() -> None:
    section = HttpsSettings(redirect="always", permanent=True, exempt_paths=["/healthz"])
    assert section.under("strict") == section


# Through the Guard, alone and among others


def alone(log: EventLog, mode: Mode = "enforce") -> ASGIApp:
    return HttpsMiddleware(plain, HttpsSettings(redirect="always", mode=mode), sinks=(log,))


def in_a_guard(log: EventLog, mode: Mode = "enforce") -> ASGIApp:
    context = Context(sinks=(log,))
    return Guard(plain, policies=[HttpsPolicy(HttpsSettings(redirect="always", mode=mode), context)])


both = pytest.mark.parametrize("build", [alone, in_a_guard])


@both
def test_request_is_redirected(build: Callable[..., ASGIApp]) -> None:
    log = EventLog()
    app = build(log)
    assert drive(app, http_scope("/a", scheme="https")).status == 200
    sent = drive(app, http_scope("/a", scheme="http"))
    assert sent.status == 307
    assert sent.header(b"location") == b"https://example.com/a"
    assert sent.header(b"cache-control") == b"no-store"
    assert log.told == [("refused", "https.plain")]


@both
def test_websocket_is_sent_to_wss_or_closed(build: Callable[..., ASGIApp]) -> None:
    log = EventLog()
    app = build(log)
    assert drive(app, websocket_scope("/ws")).types == ["websocket.accept"]
    denied = drive(app, websocket_scope("/ws", scheme="ws"))
    assert denied.status == 307
    assert denied.header(b"location") == b"wss://example.com/ws"
    assert drive(app, websocket_scope("/ws", scheme="ws", denial=False)).closed == 1008
    assert log.told == [("refused", "https.plain")] * 2


@both
def test_redirect_can_be_rehearsed(build: Callable[..., ASGIApp]) -> None:
    log = EventLog()
    app = build(log, "report")
    assert drive(app, http_scope(scheme="http")).status == 200
    assert drive(app, websocket_scope(scheme="ws")).status == 101
    assert log.told == [("rehearsed", "https.plain")] * 2


def test_test_client_is_not_redirected_by_default() -> None:
    app = FastAPI()
    app.get("/")(lambda: "ok")
    app.add_middleware(HttpsMiddleware, settings=HttpsSettings(), sinks=())
    assert TestClient(app).get("/").text == '"ok"'
    assert TestClient(app, "https://testserver").get("/").status_code == 200
    assert TestClient(app).get("/").status_code == 200


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
def test_root_path_of_the_app_is_in_the_target() -> None:
    app = Guard(FastAPI(root_path="/api"), policies=[policy()])
    assert drive(app, http_scope("/x", scheme="http")).header(b"location") == b"https://example.com/api/x"
    assert drive(app, http_scope("/api/x", scheme="http")).header(b"location") == b"https://example.com/api/x"
