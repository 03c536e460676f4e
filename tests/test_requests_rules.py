"""Limits by path: what is looser counts where a path is routed so, what is stricter where it might be."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from secguard.requests import RequestsMiddleware, RequestsRule, RequestsSettings
from secguard.requests.rules import LimitRules, Limits, strictest
from tests.helpers import EventLog, Message, drive, exchange, http_scope, websocket_scope
from tests.slow_clients import attempt_slowly, post, talk

SECTION: dict[str, Any] = {"max_body_size": 10, "methods": ["GET", "POST"], "timeout": 5}


def limits(rules: list[dict[str, Any]], path: str = "/x", fields: dict[str, Any] | None = None, **scope: Any) -> Limits:
    section = RequestsSettings.model_validate({**SECTION, **(fields or {}), "rules": rules})
    return LimitRules(section).of(exchange(path, **scope))


def largest(rules: list[dict[str, Any]], path: str, **scope: Any) -> float:
    return limits(rules, path, **scope).max_body_size


UPLOADS = {"paths": ["/uploads"], "max_body_size": 1000}
SMALL = {"paths": ["/login"], "max_body_size": 1}


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("/", 10),
        ("/uploads", 1000),
        ("/uploads/7", 1000),
        ("/uploadsx", 10),
        ("/x/uploads", 10),
        ("/login", 1),
        ("/login/now", 1),
    ],
)
def test_what_a_rule_sets_takes_the_place_of_the_section(path: str, size: int) -> None:
    assert largest([UPLOADS, SMALL], path) == size


def test_what_a_rule_does_not_set_is_the_sections() -> None:
    held = limits([UPLOADS], "/uploads")
    assert (held.timeout, held.methods, held.websocket_idle_timeout) == (5, frozenset({"GET", "HEAD", "POST"}), inf)


def test_a_rule_may_switch_a_limit_off() -> None:
    off = {"methods": None, "max_body_size": None, "body_timeout": None, "body_min_rate": None, "timeout": None}
    more = {"max_message_size": None, "websocket_idle_timeout": None, "max_concurrency": None, "max_websockets": None}
    fields = {"max_concurrency": 3, "max_websockets": 3, "websocket_idle_timeout": 3}
    held = limits([{"paths": ["/x"], **off, **more}], "/x", fields)
    assert held == Limits(None, inf, inf, 0, inf, inf, inf, None, None)


def test_the_most_specific_rule_has_the_last_word_on_what_it_sets() -> None:
    rules = [
        {"paths": ["/a/b"], "max_body_size": 3},
        {"paths": ["/a"], "max_body_size": 2, "timeout": 2},
        {"paths": ["/"], "max_body_size": 1, "methods": ["GET"]},
    ]
    held = limits(rules, "/a/b/c")
    assert (held.max_body_size, held.timeout, held.methods) == (3, 2, frozenset({"GET", "HEAD"}))


# Where the path might be another


ROOTS = [
    pytest.param({"root_path": "/api"}, id="the server's root path"),
    pytest.param({"app_root": "/api"}, id="the app's root path"),
]


@pytest.mark.parametrize("scope", ROOTS)
@pytest.mark.parametrize("path", ["/uploads", "/api/uploads"])
def test_a_looser_rule_holds_for_the_path_as_routed(path: str, scope: dict[str, str]) -> None:
    assert largest([UPLOADS], path, **scope) == 1000
    assert largest([SMALL], path.replace("uploads", "login"), **scope) == 1


@pytest.mark.parametrize("scope", ROOTS)
def test_a_looser_rule_holds_for_no_other_path(scope: dict[str, str]) -> None:
    under_root = {"paths": ["/api/uploads"], "max_body_size": 1000}
    assert largest([under_root], "/api/uploads", **scope) == 10


@pytest.mark.parametrize("scope", ROOTS)
def test_a_stricter_rule_holds_for_every_path_that_it_might_be(scope: dict[str, str]) -> None:
    under_root = {"paths": ["/api/login"], "max_body_size": 1}
    for path in ("/login", "/api/login"):
        assert largest([under_root], path, **scope) == 1
        assert largest([under_root, {"paths": ["/login"], "max_body_size": 1000}], path, **scope) == 1


def test_where_frameworks_disagree_nothing_is_loosened() -> None:
    """Litestar and Quart serve these as /uploads and /login, Starlette does not."""
    assert largest([UPLOADS], "/apiuploads", root_path="/api") == 10
    assert largest([SMALL], "/apilogin", root_path="/api") == 1


def test_each_field_is_made_stricter_for_itself() -> None:
    routed = {"paths": ["/x"], "max_body_size": 5, "timeout": 50, "methods": ["GET", "PUT"], "body_min_rate": 9}
    other = {"paths": ["/api/x"], "max_body_size": 50, "timeout": 5, "methods": ["PUT", "POST"], "body_min_rate": 99}
    held = limits([routed, other], "/x", root_path="/api")
    assert (held.max_body_size, held.timeout, held.methods, held.body_min_rate) == (5, 5, frozenset({"PUT"}), 99)


numbers = st.sampled_from([0.5, 1.0, 2.0, inf])
some_limits = st.builds(
    Limits,
    methods=st.none() | st.frozensets(st.sampled_from(["GET", "POST", "PUT"])),
    max_body_size=numbers,
    body_timeout=numbers,
    body_min_rate=st.sampled_from([0, 1.0, 2.0]),
    timeout=numbers,
    max_message_size=numbers,
    websocket_idle_timeout=numbers,
    requests=st.none(),
    websockets=st.none(),
)


@given(st.lists(some_limits, min_size=1, max_size=4))
def test_the_strictest_is_no_looser_than_any(several: list[Limits]) -> None:
    held = strictest(several)
    for one in several:
        assert one.methods is None or (held.methods is not None and held.methods <= one.methods)
        assert held.body_min_rate >= one.body_min_rate
        for name in ("max_body_size", "body_timeout", "timeout", "max_message_size", "websocket_idle_timeout"):
            assert getattr(held, name) <= getattr(one, name)
    assert strictest([held, *several]) == held
    assert strictest(several[::-1]) == held


# Gates


def gates(rules: list[dict[str, Any]], **fields: Any) -> LimitRules:
    return LimitRules(RequestsSettings.model_validate({**fields, "rules": rules}))


def test_a_rule_with_a_number_of_its_own_counts_for_itself() -> None:
    chosen = gates([{"paths": ["/slow"], "max_concurrency": 2}, {"paths": ["/health"], "max_concurrency": None}],
                   max_concurrency=9)  # fmt: skip
    slow, others = chosen.of(exchange("/slow")).requests, chosen.of(exchange("/")).requests
    assert slow is not None
    assert others is not None
    assert (slow.size, others.size) == (2, 9)
    assert chosen.of(exchange("/slow/too")).requests is slow
    assert chosen.of(exchange("/health")).requests is None


def test_a_rule_that_sets_no_number_shares_the_sections_gate() -> None:
    chosen = gates([{"paths": ["/x"], "timeout": 1}], max_concurrency=9, max_websockets=8)
    assert chosen.of(exchange("/x")).requests is chosen.of(exchange("/")).requests
    assert chosen.of(exchange("/x")).websockets is chosen.of(exchange("/")).websockets


def test_websockets_of_a_rule_count_for_themselves() -> None:
    chosen = gates([{"paths": ["/chat"], "max_websockets": 2}], max_websockets=8, max_concurrency=9)
    chat, others = chosen.of(exchange("/chat")), chosen.of(exchange("/"))
    assert chat.websockets is not others.websockets
    assert chat.requests is others.requests
    assert chat.gate("websocket") is chat.websockets
    assert chat.gate("http") is chat.requests


def test_of_several_gates_the_narrowest_counts() -> None:
    rules = [{"paths": ["/x"], "max_concurrency": 5}, {"paths": ["/api/x"], "max_concurrency": 2}]
    gate = gates(rules, max_concurrency=3).of(exchange("/x", root_path="/api")).requests
    assert gate is not None
    assert gate.size == 2


def test_a_rule_has_a_line_of_its_own() -> None:
    rules = [
        {"paths": ["/a"], "max_concurrency": 1, "max_queue": 0},
        {"paths": ["/b"], "max_concurrency": 1, "queue_timeout": 5},
        {"paths": ["/c"], "max_concurrency": 1},
    ]
    chosen = gates(rules, max_queue=3, queue_timeout=2)
    held = [chosen.of(exchange(path)).requests for path in ("/a", "/b", "/c")]
    assert [(gate.is_full, gate.retry_after) for gate in held if gate] == [(True, 2), (False, 5), (False, 2)]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"max_queue": 3}, "max_queue is"),
        ({"queue_timeout": 3}, "queue_timeout is"),
        ({"queue_timeout": 3, "max_queue": 3, "max_concurrency": None}, "max_queue and queue_timeout is"),
    ],
)
def test_a_line_before_no_gate_stops_the_start(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RequestsRule.model_validate({"paths": ["/x"], **fields})
    (error,) = caught.value.errors()
    assert error["type"] == "requests-queue"
    assert error["msg"].startswith(named)


@pytest.mark.parametrize(
    "rule", [{"paths": []}, {"paths": ["x"]}, {"max_body_size": 1}, {"paths": ["/x"], "mode": "report"}]
)
def test_a_rule_that_makes_no_sense_stops_the_start(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RequestsSettings.model_validate({"rules": [rule]})


# Through the Guard


async def echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


def site(**fields: Any) -> RequestsMiddleware:
    app = Starlette(routes=[Route(path, echo, methods=["GET", "POST", "PUT"]) for path in ("/", "/uploads", "/login")])
    return RequestsMiddleware(app, RequestsSettings.model_validate({**SECTION, **fields}), sinks=(EventLog(),))


def status(app: RequestsMiddleware, path: str, size: int, **scope: Any) -> int:
    body: list[Message] = [{"type": "http.request", "body": b"x" * size}]
    return drive(app, http_scope(path, **{"method": "POST", **scope}), body).status


def test_an_upload_route_may_take_more() -> None:
    app = site(rules=[UPLOADS, SMALL])
    assert [status(app, path, 9) for path in ("/", "/uploads", "/login")] == [200, 200, 413]
    assert [status(app, path, 999) for path in ("/", "/uploads", "/login")] == [413, 200, 413]
    announced = {"headers": [(b"content-length", b"999")]}
    assert [status(app, path, 999, **announced) for path in ("/", "/uploads", "/login")] == [413, 200, 413]


def test_a_rule_may_allow_another_method() -> None:
    app = site(rules=[{"paths": ["/uploads"], "methods": ["PUT"]}])
    assert [status(app, "/uploads", 1, method=method) for method in ("PUT", "POST")] == [200, 405]
    assert [status(app, "/", 1, method=method) for method in ("PUT", "POST")] == [405, 200]


def test_a_rule_may_give_more_time() -> None:
    app = site(body_timeout=5, timeout=None, rules=[{"paths": ["/uploads"], "body_timeout": 50}])
    slow = post((20, b"x"))
    for path, expected in (("/", 408), ("/uploads", 200)):
        assert attempt_slowly(app, http_scope(path, method="POST"), slow)[0].status == expected
    app = site(timeout=5, body_timeout=None, rules=[{"paths": ["/uploads"], "timeout": 50}])
    for path, expected in (("/", 503), ("/uploads", 200)):
        assert attempt_slowly(app, http_scope(path, method="POST"), slow)[0].status == expected


def test_a_rule_may_hold_for_websockets() -> None:
    app = RequestsMiddleware(
        waiting,
        RequestsSettings(rules=[RequestsRule(paths=["/chat"], websocket_idle_timeout=5)]),
        sinks=(EventLog(),),
    )
    assert attempt_slowly(app, websocket_scope("/chat"), talk())[0].closed == 1001
    gone = [*talk(99), (1.0, {"type": "websocket.disconnect", "code": 1001})]
    assert attempt_slowly(app, websocket_scope("/"), gone)[0].closed is None


async def waiting(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass
