"""The csp section: what each profile sends, whose policy stands, and which answers carry it."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Send

from secguard import Guard
from secguard.csp import BLOB, NONE, SELF, CSPPolicy, CSPSettings, csp
from secguard.hosts import HostsPolicy, HostsSettings
from secguard.policy import Context, Exchange, Policy, Profile, Reply
from secguard.requests import RequestsPolicy, RequestsSettings
from tests.csp_pages import ENFORCED, REPORT_ONLY, load, only, page, read, read_nonce
from tests.helpers import Line, Scope, attempt, drive, http_scope, websocket_scope
from tests.settings_helpers import settings

WEB = (
    "default-src 'none'; script-src 'self' 'nonce-…'; style-src 'self' 'nonce-…'; img-src 'self' data: blob:; "
    "media-src 'self'; font-src 'self'; connect-src 'self'; frame-src 'self'; worker-src 'self' blob:; "
    "manifest-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
STRICT = (
    "default-src 'none'; script-src 'nonce-…' 'strict-dynamic'; style-src 'self' 'nonce-…'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
API = "default-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
UNREAD = {
    "web": WEB.replace(" 'nonce-…'", ""),
    "strict": STRICT.replace("'nonce-…' 'strict-dynamic'", "'none'").replace(" 'nonce-…'", ""),
    "api": API,
}
READ = {"web": WEB, "strict": STRICT, "api": API}
UPGRADE = {"web": "; upgrade-insecure-requests", "strict": "; upgrade-insecure-requests", "api": ""}
PROFILES: tuple[Profile, ...] = ("web", "strict", "api")


# --- what each profile sends ---


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_page_that_reads_no_nonce_gets_exactly_this(profile: Profile, scheme: str) -> None:
    sent = load(profile=profile, scope=http_scope(scheme=scheme))
    expected = UNREAD[profile] + (UPGRADE[profile] if scheme == "https" else "")
    assert sent.headers == [(ENFORCED, expected.encode())]


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_page_that_reads_its_nonce_gets_exactly_this(profile: Profile, scheme: str) -> None:
    sent = load(read_nonce, profile=profile, scope=http_scope(scheme=scheme))
    expected = READ[profile].replace("…", sent.body.decode()) + (UPGRADE[profile] if scheme == "https" else "")
    assert sent.headers == [(ENFORCED, expected.encode()), (b"cache-control", b"no-store")]


@pytest.mark.parametrize("profile", PROFILES)
def test_settings_send_what_the_middleware_sends_alone(profile: Profile) -> None:
    """In a whole Guard too: the other sections neither add a policy nor take one away."""
    sent = drive(Guard(page(read_nonce), settings(profile=profile)), http_scope())
    assert sent.header(ENFORCED) == (READ[profile].replace("…", sent.body.decode()) + UPGRADE[profile]).encode()


def test_a_section_that_is_off_sends_nothing_and_offers_nothing() -> None:
    def look(request: HTTPConnection) -> object:
        return "csp_nonce" in request.scope["state"]

    sent = drive(Guard(page(look), settings(csp=None)), http_scope())
    assert (sent.header(ENFORCED), sent.header(REPORT_ONLY), sent.body) == (None, None, b"False")


def test_a_policy_of_no_directives_is_no_header() -> None:
    assert load(profile="api", directives=dict.fromkeys(only(API))).headers == []


# --- directives of one's own ---


def test_own_directives_are_laid_over_the_profiles_one_by_one() -> None:
    sent = load(directives={"img_src": [SELF, "https://cdn.example.com"], "media_src": None, "child_src": NONE})
    expected = only(load().header(ENFORCED))
    expected |= {"img-src": ("'self'", "https://cdn.example.com"), "child-src": ("'none'",)}
    del expected["media-src"]
    assert only(sent.header(ENFORCED)) == expected


def test_the_upgrade_of_insecure_requests_can_be_asked_for_and_switched_off() -> None:
    on = load(profile="api", directives={"upgrade_insecure_requests": True})
    assert only(on.header(ENFORCED))["upgrade-insecure-requests"] == ()
    for off in (False, None):
        sent = load(directives={"upgrade_insecure_requests": off})
        assert "upgrade-insecure-requests" not in only(sent.header(ENFORCED))


def test_the_upgrade_goes_out_where_a_trusted_proxy_vouches_for_https_and_nowhere_else() -> None:
    """PITFALLS: a scheme that any client may claim."""
    section = {"trusted": ["203.0.113.0/24"], "header": "x-forwarded-for", "proto": "x-forwarded-proto"}
    claim = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-for", b"198.51.100.7")]
    for proxies, upgraded in ((section, True), (None, False)):
        guard = Guard(page(None), settings(proxies=proxies, https=None))
        header = drive(guard, http_scope(headers=claim, scheme="http")).header(ENFORCED)
        assert ("upgrade-insecure-requests" in only(header)) is upgraded


# --- enforced and report-only together ---


def test_a_second_policy_only_reports_beside_the_enforced_one() -> None:
    """PITFALLS: no way to send an enforced and a report-only policy together."""
    sent = load(report_only={"require_trusted_types_for": "'script'", "report_to": "csp"})
    assert sent.header(ENFORCED) == load().header(ENFORCED)
    assert sent.header(REPORT_ONLY) == b"require-trusted-types-for 'script'; report-to csp"


@pytest.mark.parametrize(("profile", "enforced"), [("web", "web"), ("strict", "web"), ("api", "api")])
@pytest.mark.parametrize("ask", [None, read_nonce], ids=["unread", "read"])
def test_a_rollout_enforces_what_can_be_borne_and_reports_what_strict_would_block(
    profile: Profile, enforced: Profile, ask: Callable[[HTTPConnection], object] | None
) -> None:
    sent = load(ask, profile=profile, rollout="report")
    texts = READ if ask else UNREAD
    assert sent.header(ENFORCED) == (texts[enforced] + UPGRADE[enforced]).replace("…", sent.body.decode()).encode()
    assert sent.header(REPORT_ONLY) == texts["strict"].replace("…", sent.body.decode()).encode()


def test_own_directives_hold_in_both_policies_of_a_rollout() -> None:
    sent = load(rollout="report", directives={"img_src": BLOB, "sandbox": ["allow-scripts"]})
    enforced, reported = only(sent.header(ENFORCED)), only(sent.header(REPORT_ONLY))
    assert enforced["img-src"] == reported["img-src"] == ("blob:",)
    assert "sandbox" in enforced
    assert not {"sandbox", "upgrade-insecure-requests"} & reported.keys(), "browsers ignore them there, and say so"


def test_a_rollout_and_a_second_policy_stand_in_one_header() -> None:
    sent = load(rollout="report", report_only={"img_src": NONE})
    rehearsed, own = read(sent.header(REPORT_ONLY))
    assert rehearsed == only(UNREAD["strict"])
    assert own == {"img-src": ("'none'",)}
    for nothing in ({}, {"img_src": None}):
        alone = load(rollout="report", report_only=nothing).header(REPORT_ONLY)
        assert only(alone) == rehearsed, "a policy of no directives is no part of the list"


# --- rules by path ---

RULES: list[dict[str, Any]] = [
    {"paths": ["/shop"], "directives": {"frame_src": "https://pay.example.com", "img_src": "*"}},
    {"paths": ["/shop/{id}/raw", "/raw"], "directives": {"img_src": NONE, "frame_src": None}, "report_only": None},
]


@pytest.mark.parametrize("turn", [1, -1], ids=["as written", "the other way round"])
@pytest.mark.parametrize(
    ("path", "img_src", "frame_src", "reports"),
    [
        ("/", ("'self'", "data:", "blob:"), ("'self'",), True),
        ("/shopping", ("'self'", "data:", "blob:"), ("'self'",), True),
        ("/shop", ("*",), ("https://pay.example.com",), True),
        ("/shop/7", ("*",), ("https://pay.example.com",), True),
        ("/shop/7/raw", ("'none'",), None, False),
        ("/raw", ("'none'",), None, False),
    ],
)
def test_a_rule_changes_what_it_names_and_the_most_specific_has_the_last_word(
    path: str, img_src: tuple[str, ...], frame_src: tuple[str, ...] | None, reports: bool, turn: int
) -> None:
    sent = load(scope=http_scope(path), rules=RULES[::turn], report_only={"font_src": NONE})
    expected = only(load().header(ENFORCED)) | {"img-src": img_src}
    if frame_src:
        expected["frame-src"] = frame_src
    else:
        del expected["frame-src"]
    assert only(sent.header(ENFORCED)) == expected
    assert (sent.header(REPORT_ONLY) is not None) is reports


def test_a_pattern_for_another_path_gives_its_rule_no_weight_on_this_one() -> None:
    rules = [
        {"paths": ["/a/b"], "directives": {"img_src": "https://d.example.com"}},
        {"paths": ["/a", "/z/y/x"], "directives": {"img_src": "https://c.example.com"}},
    ]
    for path, host in [("/a/b", "d"), ("/a/c", "c"), ("/z/y/x", "c")]:
        sent = load(scope=http_scope(path), rules=rules)
        assert only(sent.header(ENFORCED))["img-src"] == (f"https://{host}.example.com",)


def test_a_rule_may_have_a_report_only_policy_of_its_own() -> None:
    rule = {"paths": ["/new"], "report_only": {"img_src": NONE}}
    assert load(scope=http_scope("/new"), rules=[rule]).header(REPORT_ONLY) == b"img-src 'none'"
    assert load(scope=http_scope("/old"), rules=[rule]).header(REPORT_ONLY) is None


def test_a_rule_holds_in_a_rollout_and_with_a_nonce_too() -> None:
    rule = {"paths": ["/new"], "directives": {"script_src": ["'nonce'", "'strict-dynamic'"]}}
    sent = load(read_nonce, scope=http_scope("/new"), rules=[rule], rollout="report")
    for name in (ENFORCED, REPORT_ONLY):
        assert only(sent.header(name))["script-src"] == (f"'nonce-{sent.body.decode()}'", "'strict-dynamic'")


def test_a_rule_is_compared_with_the_path_as_routed() -> None:
    rule = {"paths": ["/shop"], "directives": {"img_src": NONE}}
    sent = load(scope=http_scope("/api/shop", root_path="/api"), rules=[rule])
    assert only(sent.header(ENFORCED))["img-src"] == ("'none'",)


# --- whose policy stands ---

THEIRS: list[tuple[str, list[Line], bytes]] = [
    ("one", [(b"content-security-policy", b"img-src *")], b"img-src *"),
    ("in any letter case", [(b"Content-SECURITY-Policy", b"img-src *")], b"img-src *"),
    ("of two lines", [(b"content-security-policy", b"img-src *"), (b"CONTENT-SECURITY-POLICY", b"font-src *")],
     b"img-src *, font-src *"),
    ("of the same line twice", [(b"content-security-policy", b"img-src *")] * 2, b"img-src *"),
]  # fmt: skip


@pytest.mark.parametrize("status", [200, 304])
@pytest.mark.parametrize("ask", [None, read_nonce], ids=["unread", "read"])
@pytest.mark.parametrize(("headers", "expected"), [row[1:] for row in THEIRS], ids=[row[0] for row in THEIRS])
def test_a_policy_of_the_apps_own_stands_alone(
    headers: list[Line], expected: bytes, ask: Callable[[HTTPConnection], object] | None, status: int
) -> None:
    """Several policies are each enforced (CSP 3 section 8.1): joined into one line they say the same."""
    assert load(ask, headers=headers, status=status).header(ENFORCED) == expected


def test_the_apps_enforced_policy_leaves_our_report_only_one_alone() -> None:
    sent = load(headers=[(b"content-security-policy", b"img-src *")], report_only={"font_src": NONE})
    assert (sent.header(ENFORCED), sent.header(REPORT_ONLY)) == (b"img-src *", b"font-src 'none'")


def test_the_apps_report_only_policy_stands_beside_our_enforced_one() -> None:
    theirs = [(b"Content-Security-Policy-Report-Only", b"img-src *")]
    for ours in (None, {"font_src": NONE}):
        sent = load(headers=theirs, report_only=ours)
        assert sent.header(REPORT_ONLY) == b"img-src *"
        assert sent.header(ENFORCED) == load().header(ENFORCED)


# --- which answers carry it ---


class Refusing(Policy):
    """Refuses every request."""

    def admit(self, exchange: Exchange) -> Reply:
        return self.context.refuse(exchange, HTTPStatus.FORBIDDEN, "test.refused", "no")


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("broken")


async def broken_after_reading(scope: Scope, receive: Receive, send: Send) -> None:
    read_nonce(HTTPConnection(scope))
    csp(HTTPConnection(scope)).add(img_src="https://cdn.example.com")
    raise ValueError("broken")


def guarded(app: ASGIApp, *inner: Callable[[Context], Policy]) -> Guard:
    context = Context(sinks=())
    return Guard(app, policies=[CSPPolicy(CSPSettings(), context), *(make(context) for make in inner)])


ANSWERS: dict[str, tuple[Guard, Scope, int]] = {
    "a HEAD": (guarded(page(None)), http_scope(method="HEAD"), 200),
    "a redirect": (guarded(page(None, 303)), http_scope(), 303),
    "no content": (guarded(page(None, 204)), http_scope(), 204),
    "an error page of the app's": (guarded(page(None, 404)), http_scope(), 404),
    "a refusal": (guarded(page(None), Refusing), http_scope(), 403),
    "a strange host": (
        guarded(page(None), lambda context: HostsPolicy(HostsSettings(allowed=("a.example",)), context)),
        http_scope(),
        400,
    ),
    "a hostile path": (
        guarded(page(None), lambda context: RequestsPolicy(RequestsSettings(), context)),
        http_scope("//admin"),
        400,
    ),
    "an app that fails": (guarded(broken), http_scope(), 500),
    "an accepted websocket": (guarded(page(None)), websocket_scope(), 101),
    "a denied websocket": (guarded(page(None), Refusing), websocket_scope(), 403),
}


@pytest.mark.parametrize(("app", "scope", "status"), ANSWERS.values(), ids=ANSWERS)
def test_every_answer_carries_the_policy(app: Guard, scope: Scope, status: int) -> None:
    sent = attempt(app, scope)
    assert sent.status == status
    assert sent.header(ENFORCED) == (UNREAD["web"] + UPGRADE["web"]).encode()


def test_the_answer_for_an_app_that_fails_after_reading_its_nonce_is_hardened_too() -> None:
    sent = attempt(guarded(broken_after_reading), http_scope())
    assert (sent.status, sent.header(b"cache-control")) == (500, b"no-store")
    assert "https://cdn.example.com" in only(sent.header(ENFORCED))["img-src"]


def test_a_websocket_may_read_its_nonce_and_gets_it_with_the_handshake() -> None:
    sent = load(read_nonce, scope=websocket_scope())
    nonce = (sent.header(b"x-told") or b"").decode()
    assert only(sent.header(ENFORCED))["script-src"] == ("'self'", f"'nonce-{nonce}'")
