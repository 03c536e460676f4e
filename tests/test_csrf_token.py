"""The token: who gets one, where it is asked for, and whose it is. Forms are read in test_csrf_forms.py."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from secguard import Guard
from secguard.csrf import CSRFMiddleware, CSRFPolicy, CSRFSettings, TokenSettings
from secguard.csrf.policy import FormTokenPolicy, TokenPolicy
from secguard.csrf.token import Tokens, VisitorCookie
from secguard.policy import Context, Environment, Exchange, Keys, Reply
from tests.csrf_requests import CROSS_SITE, FOREIGN, NULL, OWN, SAME_ORIGIN, SIBLING
from tests.helpers import EventLog, Line, drive, exchange, http_scope, websocket_scope
from tests.settings_helpers import problem, settings

ONE, TWO = "Q5fO9kz1Vv0sHn3dTjYw7LxBc2RmGe8u", "uJ4w-Zt8Xq_Lb6Nf1Hd0Ck9Ry3Vm7Ps2"
KEYS = Keys([ONE])
VISITOR, OTHER = b"v" * 43, b"o" * 43
TOKENS = Tokens(KEYS.derive("csrf-token", "cookie"))
ASKING: dict[str, Any] = {"token": {"paths": ["/account"]}}


def cookie(visitor: bytes, name: bytes = b"__Host-Http-csrf") -> Line:
    return (b"cookie", name + b"=" + visitor)


def sent(token: bytes | str, name: bytes = b"x-csrf-token") -> Line:
    return (name, token if isinstance(token, bytes) else token.encode())


def policy(section: dict[str, Any], keys: Keys = KEYS, environment: Environment = "production") -> CSRFPolicy:
    context = Context(keys=keys, environment=environment, sinks=())
    return CSRFPolicy(CSRFSettings.model_validate(section), context)


def verdict(section: dict[str, Any], *lines: Line, path: str = "/account", **more: Any) -> str:
    """Return the code of a refusal, or that the request passes."""
    reply = policy(section).admit(exchange(path, lines, **{"method": "POST", **more}))
    if reply is None:
        return "passes"
    assert isinstance(reply, Reply)
    assert reply.status == 403
    assert reply.event
    return reply.event.code


MINE = (cookie(VISITOR), sent(TOKENS.make(VISITOR)))
FOR_ORIGIN = {**ASKING, "require_origin": True}
EXEMPT = {**ASKING, "dangerously_exempt_paths": ["/account/hooks"]}

# What is set, the path, what the request carries, and what becomes of it.
ASKED: list[tuple[str, dict[str, Any], str, tuple[Line, ...], str]] = [
    ("token of this visitor", ASKING, "/account", (OWN, SAME_ORIGIN, *MINE), "passes"),
    ("token of this visitor, below the path", ASKING, "/account/password", (OWN, SAME_ORIGIN, *MINE), "passes"),
    ("token of this visitor among other cookies", ASKING, "/account",
     ((b"cookie", b"a=1; __Host-Http-csrf=" + VISITOR + b"; b"), MINE[1]), "passes"),
    ("no token", ASKING, "/account", (OWN, SAME_ORIGIN, cookie(VISITOR)), "csrf.token"),
    ("no token and no browser", ASKING, "/account", (), "csrf.token"),
    ("no token where none is asked for", ASKING, "/accounts", (OWN, SAME_ORIGIN), "passes"),
    ("no token where none is asked for, and another site", ASKING, "/", (FOREIGN, CROSS_SITE), "csrf.cross-origin"),
    ("token of somebody else", ASKING, "/account", (cookie(OTHER), MINE[1]), "csrf.token"),
    ("token without a cookie", ASKING, "/account", (MINE[1],), "csrf.token"),
    ("token with two cookies", ASKING, "/account", (*MINE, cookie(VISITOR)), "csrf.token"),
    ("token with two cookies in one line", ASKING, "/account",
     ((b"cookie", b"__Host-Http-csrf=" + VISITOR + b";__Host-Http-csrf=" + OTHER), MINE[1]), "csrf.token"),
    ("cookie under a name that looks alike", ASKING, "/account", (cookie(VISITOR, b"\xa0__Host-Http-csrf"), MINE[1]),
     "csrf.token"),
    ("cookie under the name in another case", ASKING, "/account", (cookie(VISITOR, b"__host-http-csrf"), MINE[1]),
     "csrf.token"),
    ("cookie under the name without its prefix", ASKING, "/account", (cookie(VISITOR, b"csrf"), MINE[1]), "csrf.token"),
    ("cookie that is none of ours", ASKING, "/account",
     (cookie(b"short"), sent(TOKENS.make(b"short"))), "csrf.token"),
    ("empty token", ASKING, "/account", (MINE[0], sent(b"")), "csrf.token"),
    ("token cut short", ASKING, "/account", (MINE[0], sent(MINE[1][1][:-1])), "csrf.token"),
    ("token with more behind it", ASKING, "/account", (MINE[0], sent(MINE[1][1] + b"A")), "csrf.token"),
    ("token that is the cookie", ASKING, "/account", (MINE[0], sent(VISITOR)), "csrf.token"),
    ("token in another header", ASKING, "/account", (MINE[0], sent(MINE[1][1], b"x-xsrf-token")), "csrf.token"),
    ("token in the header that is set", {"token": {"paths": ["/account"], "header": "X-XSRF-Token"}}, "/account",
     (MINE[0], sent(MINE[1][1], b"x-xsrf-token")), "passes"),

    ("token from another site", ASKING, "/account", (FOREIGN, CROSS_SITE, *MINE), "csrf.cross-origin"),
    ("token from a sandboxed frame", ASKING, "/account", (NULL, *MINE), "csrf.cross-origin"),
    ("token from a trusted origin", {**ASKING, "trusted_origins": [SIBLING[1].decode()]}, "/account",
     (SIBLING, CROSS_SITE, *MINE), "passes"),
    ("trusted origin without a token", {**ASKING, "trusted_origins": [SIBLING[1].decode()]}, "/account",
     (SIBLING, CROSS_SITE, cookie(VISITOR)), "csrf.token"),
    ("token in place of the origin that is required", FOR_ORIGIN, "/account", MINE, "passes"),
    ("wrong token in its place", FOR_ORIGIN, "/account", (cookie(OTHER), MINE[1]), "csrf.token"),
    ("no token in its place", FOR_ORIGIN, "/account", (), "csrf.token"),
    ("no origin where no token is asked for", FOR_ORIGIN, "/", MINE, "csrf.cross-origin"),

    ("exempt path", EXEMPT, "/account/hooks", (FOREIGN, CROSS_SITE), "passes"),
    ("path beside the exempt one", EXEMPT, "/account/hook", (OWN, SAME_ORIGIN), "csrf.token"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("section", "path", "lines", "expected"), [row[1:] for row in ASKED], ids=[row[0] for row in ASKED]
)
def test_post(section: dict[str, Any], path: str, lines: tuple[Line, ...], expected: str) -> None:
    assert verdict(section, *lines, path=path) == expected


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_safe_method_needs_no_token(method: str) -> None:
    assert verdict(ASKING, method=method) == "passes"
    assert verdict({**ASKING, "isolate": True}, CROSS_SITE, method=method) == "csrf.isolated"


def test_handshake_needs_no_token_and_a_right_origin() -> None:
    asking = policy(ASKING)
    assert asking.admit(exchange("/account", [OWN], websocket=True)) is None
    assert asking.admit(exchange("/account", [FOREIGN], websocket=True)) is not None


def test_token_is_asked_for_at_every_path_that_the_request_may_turn_out_to_have() -> None:
    for path, root in (("/account", "/api"), ("/api/account", "/api"), ("/api/account", "/")):
        expected = "passes" if root == "/" else "csrf.token"
        assert verdict(ASKING, path=path, root_path=root) == expected


def test_token_is_accepted_while_the_key_of_its_time_is_there() -> None:
    old = Tokens(Keys([TWO]).derive("csrf-token", "cookie")).make(VISITOR)
    lines = [cookie(VISITOR), sent(old)]
    assert policy(ASKING, Keys([ONE, TWO])).admit(exchange("/account", lines, method="POST")) is None
    assert policy(ASKING, Keys([ONE])).admit(exchange("/account", lines, method="POST")) is not None
    fresh = Tokens(Keys([ONE, TWO]).derive("csrf-token", "cookie")).make(VISITOR)
    assert TOKENS.accepts(fresh.encode(), VISITOR), "the first key signs"


@pytest.mark.parametrize(
    ("lines", "advice"),
    [
        pytest.param((), "send it in the header x-csrf-token", id="none"),
        pytest.param((sent(b"x"),), "without the cookie", id="no cookie"),
        pytest.param((cookie(OTHER), MINE[1]), "read request.state.csrf_token anew", id="not this visitor's"),
    ],
)
def test_reason_says_what_is_wrong(lines: tuple[Line, ...], advice: str) -> None:
    reply = policy(ASKING).admit(exchange("/account", lines, method="POST"))
    assert isinstance(reply, Reply)
    assert reply.event
    assert advice in reply.event.reason
    assert b"csrf" not in reply.body


# Tokens themselves


def test_token_is_another_one_each_time_and_always_the_visitors() -> None:
    made = {TOKENS.make(VISITOR) for _ in range(50)}
    assert len(made) == 50
    assert all(TOKENS.accepts(token.encode(), VISITOR) for token in made)
    assert not any(TOKENS.accepts(token.encode(), OTHER) for token in made)


@given(st.integers(0, 85), st.sampled_from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
def test_no_letter_of_a_token_can_be_another(at: int, letter: int) -> None:
    token = bytearray(TOKENS.make(VISITOR).encode())
    before = bytes(token)
    token[at] = letter
    # The last letter holds two bits of the token, and four that mean nothing.
    same = bytes(token) == before if at < 85 else None
    assert same is None or TOKENS.accepts(bytes(token), VISITOR) is same


@given(st.binary(max_size=90) | st.from_regex(rb"[A-Za-z0-9_-]{86}", fullmatch=True), st.binary(max_size=50))
def test_no_bytes_are_a_token(token: bytes, visitor: bytes) -> None:
    assert not TOKENS.accepts(token, visitor)


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def watching(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr("hmac.compare_digest", watching)
    both = Tokens(Keys([ONE, TWO]).derive("csrf-token", "cookie"))
    assert both.accepts(TOKENS.make(VISITOR).encode(), VISITOR)
    assert len(compared) == 2, "under every key"
    assert all(len(one) == len(other) == 32 for one, other in compared)


# What a page gets


async def form(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.state.csrf_token + " " + request.state.csrf_token)


async def other(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok", int(request.query_params.get("status", 200)))


async def accept(request: Request) -> PlainTextResponse:
    return PlainTextResponse("done")


site = Starlette(
    routes=[Route("/", form), Route("/other", other), Route("/account", accept, methods=["POST"])],
)


def alone(app: ASGIApp = site, section: dict[str, Any] = ASKING, **options: Any) -> CSRFMiddleware:
    return CSRFMiddleware(app, CSRFSettings.model_validate(section), **{"keys": KEYS, "sinks": (), **options})


def test_page_that_reads_it_names_the_visitor_and_stays_private() -> None:
    page = drive(alone(), http_scope())
    line = page.header(b"set-cookie")
    assert line
    visitor, _, attributes = line.partition(b"; ")
    assert re.fullmatch(rb"__Host-Http-csrf=[A-Za-z0-9_-]{43}", visitor)
    assert attributes == b"Path=/; HttpOnly; SameSite=Lax; Secure"
    assert page.header(b"cache-control") == b"no-store"
    first, second = page.body.split()
    assert first != second
    for token in (first, second):
        headers = [(b"cookie", visitor), sent(token), SAME_ORIGIN]
        assert drive(alone(), http_scope("/account", headers, "POST")).body == b"done"


def test_visitor_who_is_named_already_keeps_the_name() -> None:
    page = drive(alone(), http_scope(headers=[cookie(VISITOR)]))
    assert page.header(b"set-cookie") is None
    assert page.header(b"cache-control") == b"no-store"
    assert TOKENS.accepts(page.body.split()[0], VISITOR)


@pytest.mark.parametrize("lines", [[cookie(b"none of ours")], [cookie(VISITOR), cookie(OTHER)]])
def test_visitor_without_a_name_of_ours_gets_one(lines: list[Line]) -> None:
    assert drive(alone(), http_scope(headers=lines)).header(b"set-cookie")


@pytest.mark.parametrize("query", [b"", b"status=304"])
def test_page_that_does_not_read_it_sets_nothing(query: bytes) -> None:
    page = drive(alone(), http_scope("/other", query_string=query))
    assert page.header(b"set-cookie") is None
    assert page.header(b"cache-control") is None


def test_cookies_of_the_app_stay() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["state"]["csrf_token"]
        lines = [(b"set-cookie", b"a=1"), (b"Cache-Control", b"public, max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": lines})
        await send({"type": "http.response.body", "body": b""})

    page = drive(alone(app), http_scope())
    assert len(page.values(b"set-cookie")) == 2
    assert page.header(b"cache-control") == b"max-age=60, private"


def test_development_on_plain_http_has_no_prefix() -> None:
    app = alone(environment="development")
    page = drive(app, http_scope(scheme="http"))
    line = page.header(b"set-cookie")
    assert line
    assert re.fullmatch(rb"csrf=[A-Za-z0-9_-]{43}; Path=/; HttpOnly; SameSite=Lax", line)
    headers = [(b"cookie", line.partition(b";")[0]), sent(page.body.split()[0])]
    assert drive(app, http_scope("/account", headers, "POST", "http")).body == b"done"


def test_token_that_is_read_too_late_is_an_error() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with pytest.raises(RuntimeError, match="too late"):
            scope["state"]["csrf_token"]
        await send({"type": "http.response.body", "body": b""})

    assert drive(alone(app), http_scope()).header(b"set-cookie") is None


def test_websocket_may_read_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert TOKENS.accepts(scope["state"]["csrf_token"].encode(), VISITOR)
        await send({"type": "websocket.accept", "headers": []})

    assert drive(alone(app), websocket_scope(headers=[cookie(VISITOR)])).types == ["websocket.accept"]


def test_isolation_and_a_token_go_together() -> None:
    section = {**ASKING, "isolate": True, "dangerously_exempt_paths": ["/other"]}
    vary = b"Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest"
    assert drive(alone(section=section), http_scope()).header(b"vary") == vary
    assert drive(alone(section=section), http_scope("/other", query_string=b"status=304")).header(b"vary") is None
    assert (
        drive(alone(section={**ASKING, "isolate": True}), http_scope("/other", query_string=b"status=304")).header(
            b"vary"
        )
        == vary
    )


def test_refusal_can_be_rehearsed() -> None:
    log = EventLog()
    app = alone(section={**ASKING, "mode": "report"}, sinks=(log,))
    assert drive(app, http_scope("/account", [SAME_ORIGIN], "POST")).body == b"done"
    assert log.told == [("rehearsed", "csrf.token")]


def test_nothing_is_offered_without_the_setting() -> None:
    assert drive(Guard(site, policies=[policy({})]), http_scope("/other")).status == 200
    assert "csrf_token" not in policy({}).offers


# What is set


def test_policy_has_the_hooks_that_its_section_needs() -> None:
    assert type(policy({})) is CSRFPolicy
    assert type(policy(ASKING)) is TokenPolicy
    assert type(policy({"token": {"paths": "/a", "form_paths": "/a"}})) is FormTokenPolicy


def test_class_of_somebody_elses_does_not_forget_the_token() -> None:
    class Mine(CSRFPolicy):
        pass

    context = Context(keys=KEYS)
    assert type(Mine(CSRFSettings(), context)) is Mine
    with pytest.raises(TypeError, match="derive it from TokenPolicy"):
        Mine(CSRFSettings.model_validate(ASKING), context)

    class MineToo(TokenPolicy):
        def is_exempt(self, exchange: Exchange) -> bool:
            return True

    assert MineToo(CSRFSettings.model_validate(ASKING), context).admit(exchange("/account", method="POST")) is None


def test_token_needs_keys() -> None:
    with pytest.raises(ValueError, match="needs secret keys"):
        policy(ASKING, Keys())
    found = problem({"SECGUARD_CSRF__TOKEN__PATHS": "/account"})
    assert (found.code, found.where) == ("csrf-token-keys", "SECGUARD_CSRF__TOKEN__PATHS")
    assert "SECGUARD_SECRET_KEYS" in found.message
    made = settings({"SECGUARD_CSRF__TOKEN__PATHS": "/account", "SECGUARD_SECRET_KEYS": ONE})
    assert TokenPolicy in map(type, made.policies(sinks=()))


@pytest.mark.parametrize(
    ("paths", "form_paths", "idle"),
    [
        pytest.param("/", "/a, /b/{id}", "", id="below the root"),
        pytest.param("/a", "/a, /a/b", "", id="the path and below it"),
        pytest.param("/users/{id}", "/users/{name}/avatar", "", id="segments by other names"),
        pytest.param("/a", "/b, /a, /ab", "at /b, /ab:", id="beside it"),
        pytest.param("/a/b", "/a", "at /a:", id="above it"),
    ],
)
def test_forms_are_read_where_a_token_is_asked_for(paths: str, form_paths: str, idle: str) -> None:
    if not idle:
        assert TokenSettings(paths=paths, form_paths=form_paths).field == "csrf_token"
        return
    with pytest.raises(ValidationError) as caught:
        TokenSettings(paths=paths, form_paths=form_paths)
    (error,) = caught.value.errors()
    assert error["type"] == "csrf-token-form-paths"
    assert idle in error["msg"]


@pytest.mark.parametrize("wrong", [{}, {"paths": []}, {"paths": ["/a"], "header": "x y"}, {"paths": "/", "field": ""}])
def test_mistakes(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TokenSettings.model_validate(wrong)


def test_section_survives_its_own_dump() -> None:
    section = CSRFSettings.model_validate({"token": {"paths": ["/a"], "form_paths": ["/a/b"], "header": "X-Token"}})
    assert section.under("strict") == section


def test_visitors_are_drawn_by_lot() -> None:
    cookies = VisitorCookie(development=False)
    assert len({cookies.fresh() for _ in range(50)}) == 50
