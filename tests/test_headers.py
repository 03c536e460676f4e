"""The headers section: each row of the defaults, rules by path, removal, and the mistakes it refuses."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from secguard.guard import Guard
from secguard.headers import HeadersMiddleware, HeadersPolicy, HeadersSettings, Hsts
from secguard.headers.permissions import FEATURES, permissions_policy
from secguard.headers.removal import OWASP, RELICS
from secguard.policy import Context, Environment, Profile
from tests.helpers import Line, Sent, answering, drive, http_scope, plain, websocket_scope

DENIED = (
    "accelerometer=(), browsing-topics=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), "
    "idle-detection=(), local-fonts=(), magnetometer=(), microphone=(), midi=(), payment=(), serial=(), usb=(), "
    "xr-spatial-tracking=()"
)
IN_WRITING = (
    ", clipboard-read=(self), clipboard-write=(self), fullscreen=(self), publickey-credentials-create=(self), "
    "publickey-credentials-get=(self), screen-wake-lock=(self), storage-access=(self)"
)
WEB = {
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "strict-origin-when-cross-origin",
    "cross-origin-opener-policy": "same-origin-allow-popups",
    "cross-origin-resource-policy": "same-site",
    "origin-agent-cluster": "?1",
    "permissions-policy": DENIED,
}
STRICT = WEB | {
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "credentialless",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": DENIED + IN_WRITING,
}
API = WEB | {
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": DENIED + IN_WRITING,
    "cache-control": "no-store",
}


def sent(
    *app_sends: tuple[str, str],
    path: str = "/",
    scheme: str = "https",
    profile: Profile = "web",
    environment: Environment = "production",
    **fields: Any,
) -> Sent:
    """What leaves when the app sends these headers, through a `headers` section of these fields."""
    lines = [(name.encode(), value.encode()) for name, value in app_sends]
    app = HeadersMiddleware(
        answering(headers=lines), HeadersSettings(**fields), profile=profile, environment=environment
    )
    return drive(app, http_scope(path, scheme=scheme))


def header(name: str, *app_sends: tuple[str, str], **options: Any) -> str | None:
    value = sent(*app_sends, **options).header(name.encode())
    return None if value is None else value.decode()


@pytest.mark.parametrize(("profile", "expected"), [("web", WEB), ("strict", STRICT), ("api", API)])
def test_a_profile_sends_exactly_the_headers_it_promises(profile: Profile, expected: dict[str, str]) -> None:
    headers = sent(profile=profile).headers
    assert {name.decode(): value.decode() for name, value in headers} == expected
    assert len(headers) == len(expected)


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "in a Guard"])
@pytest.mark.parametrize("scope", [http_scope(), websocket_scope()], ids=["http", "websocket"])
def test_the_headers_leave_alone_and_in_a_guard_over_http_and_websocket(alone: bool, scope: Any) -> None:
    guard = HeadersMiddleware(plain) if alone else Guard(plain, policies=[HeadersPolicy(HeadersSettings(), Context())])
    headers = drive(guard, scope).headers
    assert WEB.items() <= {name.decode(): value.decode() for name, value in headers}.items()


HOW_THE_APPS_OWN_FARES = [
    ("X-Content-Type-Options", "weird", "nosniff", "is overridden"),
    ("Strict-Transport-Security", "max-age=1", "max-age=31536000", "is overridden"),
    ("Strict-Transport-Security", "max-age=0", "max-age=0", "withdraws"),
    ("Strict-Transport-Security", 'includeSubDomains; MAX-AGE = "0"', 'includeSubDomains; MAX-AGE = "0"', "withdraws"),
    ("Strict-Transport-Security", "max-age=09", "max-age=31536000", "withdraws nothing"),
    ("Strict-Transport-Security", "x-max-age=0", "max-age=31536000", "withdraws nothing"),
    ("X-Frame-Options", "deny", "deny", "stands"),
    ("X-Frame-Options", "ALLOW-FROM https://a.example", "SAMEORIGIN", "is no protection and is replaced"),
    ("Referrer-Policy", "unsafe-url", "unsafe-url", "stands"),
    ("Cross-Origin-Opener-Policy", "unsafe-none", "unsafe-none", "stands"),
    ("Cross-Origin-Resource-Policy", "cross-origin", "cross-origin", "stands"),
    ("Cross-Origin-Embedder-Policy", "require-corp", "require-corp", "stands"),
    ("Origin-Agent-Cluster", "?0", "?0", "stands"),
    ("Permissions-Policy", "camera=*", "camera=*", "stands"),
    ("Server", "uvicorn", None, "is removed"),
    ("X-POWERED-BY", "PHP/5.2", None, "is removed"),
    ("X-Runtime", "0.1", None, "is removed"),
    ("Expect-CT", "max-age=1", None, "is removed"),
    ("Feature-Policy", "camera 'none'", None, "is removed"),
    ("Public-Key-Pins", 'pin-sha256="x"; max-age=1', None, "is removed"),
    ("X-XSS-Protection", "1; mode=block", None, "is removed"),
    ("X-XSS-Protection", "0", "0", "stands"),
    ("X-Request-Id", "17", "17", "is nobody's business"),
]


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [row[:3] for row in HOW_THE_APPS_OWN_FARES],
    ids=[f"{name}: {value} {fate}" for name, value, _, fate in HOW_THE_APPS_OWN_FARES],
)
@pytest.mark.parametrize("case", [str, str.lower, str.upper], ids=["as written", "in lower case", "in upper case"])
def test_a_header_of_the_apps(name: str, value: str, expected: str | None, twice: bool, case: Any) -> None:
    lines = [(case(name), value)] * (2 if twice and name != "X-Request-Id" else 1)
    assert header(name.lower(), *lines) == expected


def test_the_line_nearest_to_the_endpoint_stands_of_two_that_differ() -> None:
    assert header("x-frame-options", ("X-Frame-Options", "DENY"), ("x-frame-options", "SAMEORIGIN")) == "DENY"


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("referrer-policy", ["no-referrer", "origin"], "no-referrer, origin"),
        ("permissions-policy", ["camera=*", "usb=*"], "camera=*, usb=*"),
        ("cache-control", ["private", "no-store"], "private, no-store"),
    ],
)
def test_two_lines_of_a_list_become_one_and_nothing_is_lost(name: str, values: list[str], expected: str) -> None:
    assert header(name, *[(name, value) for value in values], profile="api") == expected


def test_caching_is_the_apps_business_where_we_say_nothing_of_it() -> None:
    lines = [("cache-control", "private"), ("cache-control", "no-store")]
    assert sent(*lines).values(b"cache-control") == [b"private", b"no-store"]


def test_no_set_cookie_is_lost_beside_a_header_we_own() -> None:
    first, second = (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")
    lines: list[Line] = [first, (b"X-Frame-Options", b"DENY"), second, (b"server", b"x")]
    headers = drive(HeadersMiddleware(answering(headers=lines)), http_scope()).values(b"set-cookie")
    assert headers == [b"a=1", b"b=2"]


class TestHsts:
    """Strict-Transport-Security goes out where it is believed, and nowhere else."""

    @pytest.mark.parametrize("scheme", ["http", "ws"])
    def test_it_never_goes_out_on_a_plain_scheme(self, scheme: str) -> None:
        assert header("strict-transport-security", scheme=scheme) is None

    def test_no_client_can_bring_it_about_with_a_forwarded_scheme(self) -> None:
        scope = http_scope(headers=[(b"x-forwarded-proto", b"https")], scheme="http")
        assert drive(HeadersMiddleware(plain), scope).header(b"strict-transport-security") is None

    def test_it_never_pins_a_developers_machine(self) -> None:
        assert header("strict-transport-security", environment="development") is None

    @pytest.mark.parametrize(("scheme", "environment"), [("http", "production"), ("https", "development")])
    def test_where_it_is_not_sent_the_apps_own_passes_once(self, scheme: str, environment: Environment) -> None:
        own = ("Strict-Transport-Security", "max-age=7")
        assert header("strict-transport-security", own, own, scheme=scheme, environment=environment) == "max-age=7"

    def test_a_max_age_of_zero_may_be_sent_to_withdraw_it(self) -> None:
        assert header("strict-transport-security", hsts={"max_age": 0}) == "max-age=0"

    def test_preload_is_sent_when_everything_it_needs_is_there(self) -> None:
        assert Hsts(include_subdomains=True, preload=True).value == "max-age=31536000; includeSubDomains; preload"

    def test_a_setting_of_the_users_wins_over_the_profile_and_the_rest_of_it_stands(self) -> None:
        value = header("strict-transport-security", hsts={"max_age": 7}, profile="strict")
        assert value == "max-age=7; includeSubDomains"


class TestRules:
    """Rules change headers for some paths."""

    OAUTH: ClassVar = {"paths": ["/oauth"], "cross_origin_opener_policy": "unsafe-none"}

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("/oauth", "unsafe-none"),
            ("/oauth/callback", "unsafe-none"),
            ("/oauthority", "same-origin-allow-popups"),
            ("/", "same-origin-allow-popups"),
        ],
    )
    def test_a_rule_holds_for_whole_segments(self, path: str, expected: str) -> None:
        assert header("cross-origin-opener-policy", path=path, rules=[self.OAUTH]) == expected

    def test_a_rule_changes_nothing_else(self) -> None:
        ruled = dict(sent(path="/oauth", rules=[self.OAUTH]).headers)
        assert ruled == {name.encode(): value.encode() for name, value in WEB.items()} | {
            b"cross-origin-opener-policy": b"unsafe-none"
        }

    @pytest.mark.parametrize("turn", [1, -1], ids=["as written", "the other way round"])
    def test_the_most_specific_rule_has_the_last_word_in_whatever_order(self, turn: int) -> None:
        rules = [
            {"paths": ["/"], "frame_options": "DENY", "referrer_policy": "no-referrer"},
            {"paths": ["/embed/{id}"], "frame_options": None},
        ]
        headers = sent(path="/embed/7", rules=rules[::turn])
        assert headers.header(b"x-frame-options") is None
        assert headers.header(b"referrer-policy") == b"no-referrer"

    @pytest.mark.parametrize(
        ("path", "expected"), [("/a/b", "no-referrer"), ("/a/c", "same-origin"), ("/z/y/x", "same-origin")]
    )
    def test_a_pattern_for_another_path_gives_its_rule_no_weight_on_this_one(self, path: str, expected: str) -> None:
        rules = [
            {"paths": ["/a/b"], "referrer_policy": "no-referrer"},
            {"paths": ["/a", "/z/y/x"], "referrer_policy": "same-origin"},
        ]
        assert header("referrer-policy", path=path, rules=rules) == expected

    def test_permissions_and_extra_headers_are_merged_by_name(self) -> None:
        rule = {"paths": ["/call"], "permissions_policy": {"camera": "self"}, "extra": {"x-b": "2"}}
        headers = sent(path="/call", extra={"x-a": "1"}, rules=[rule])
        assert (headers.header(b"x-a"), headers.header(b"x-b")) == (b"1", b"2")
        assert headers.header(b"permissions-policy") == DENIED.replace("camera=()", "camera=(self)").encode()

    def test_a_rule_may_switch_all_permissions_off(self) -> None:
        assert header("permissions-policy", path="/x", rules=[{"paths": "/x", "permissions_policy": None}]) is None

    def test_a_rule_may_spare_what_is_removed_elsewhere(self) -> None:
        fields = {"rules": [{"paths": ["/debug"], "remove": []}]}
        assert header("x-runtime", ("X-Runtime", "1"), path="/debug", **fields) == "1"
        assert header("x-runtime", ("X-Runtime", "1"), path="/", **fields) is None

    def test_a_rule_is_compared_with_the_path_as_routed(self) -> None:
        app = HeadersMiddleware(plain, HeadersSettings.model_validate({"rules": [self.OAUTH]}))
        value = drive(app, http_scope("/api/oauth", root_path="/api")).header(b"cross-origin-opener-policy")
        assert value == b"unsafe-none"


class TestPermissions:
    """Permissions-Policy is typed, by feature."""

    def test_what_the_user_says_lies_over_the_profile(self) -> None:
        value = header("permissions-policy", permissions_policy={"usb": ["self"], "camera": None, "gamepad": "none"})
        assert value == DENIED.replace("usb=()", "usb=(self)").replace("camera=(), ", "") + ", gamepad=()"

    @pytest.mark.parametrize(
        ("written", "sent_as"),
        [
            ("none", "()"),
            ("()", "()"),
            ([], "()"),
            ("self", "(self)"),
            ("(self)", "(self)"),
            ("'self'", "(self)"),
            ("*", "*"),
            ("self, https://maps.example.com", '(self "https://maps.example.com")'),
            (["https://*.example.com:8443"], '("https://*.example.com:8443")'),
            (["src"], "(src)"),
        ],
    )
    def test_an_allowlist_may_be_written(self, written: object, sent_as: str) -> None:
        value = header("permissions-policy", permissions_policy={"Picture_In_Picture": written})
        assert value == f"{DENIED}, picture-in-picture={sent_as}"

    def test_all_of_it_can_be_switched_off(self) -> None:
        assert header("permissions-policy", permissions_policy=None) is None

    def test_nothing_but_what_is_named_here_is_ever_cross_origin_isolated(self) -> None:
        assert "cross-origin-isolated" not in FEATURES

    @given(
        st.dictionaries(
            st.sampled_from(sorted(FEATURES)),
            st.one_of(st.none(), st.lists(st.sampled_from(["self", "https://a.example", "*"]), max_size=3).map(tuple)),
        )
    )
    def test_every_feature_stands_once_and_nothing_opens_a_second_one(
        self, allowlists: dict[str, tuple[str, ...] | None]
    ) -> None:
        members = permissions_policy(allowlists).split(", ")
        named = [member.partition("=")[0] for member in members if member]
        assert named == [feature for feature, allowed in allowlists.items() if allowed is not None]


class TestOwnWishes:
    """Further headers, lists in one text, and switching single headers off."""

    def test_extra_headers_override_the_apps(self) -> None:
        assert header("x-team", ("X-Team", "b"), extra={"X-Team": "a"}) == "a"

    def test_a_removed_header_may_be_set_to_something_harmless(self) -> None:
        assert header("server", ("server", "uvicorn"), extra={"Server": "web"}) == "web"

    def test_only_what_is_named_is_removed_when_names_are_given(self) -> None:
        headers = sent(("x-team", "b"), ("server", "s"), remove="X-Team").headers
        assert (b"server", b"s") in headers
        assert b"x-team" not in dict(headers)

    def test_allow_from_is_removed_even_where_we_send_no_frame_options(self) -> None:
        assert header("x-frame-options", ("X-Frame-Options", "ALLOW-FROM x"), frame_options=None) is None
        assert header("x-frame-options", ("X-Frame-Options", "DENY"), frame_options=None) == "DENY"

    def test_a_fallback_chain_of_referrer_policies_is_one_line(self) -> None:
        chain = "no-referrer, strict-origin-when-cross-origin"
        assert header("referrer-policy", referrer_policy=chain) == chain

    @pytest.mark.parametrize(("name", "field"), [
        ("strict-transport-security", "hsts"),
        ("x-content-type-options", "content_type_options"),
        ("x-frame-options", "frame_options"),
        ("referrer-policy", "referrer_policy"),
        ("cross-origin-opener-policy", "cross_origin_opener_policy"),
        ("cross-origin-resource-policy", "cross_origin_resource_policy"),
        ("origin-agent-cluster", "origin_agent_cluster"),
    ])  # fmt: skip
    def test_a_header_that_is_off_is_left_to_the_app(self, name: str, field: str) -> None:
        assert header(name, **{field: None}) is None
        assert header(name, (name, "the-apps"), remove=[], **{field: None}) == "the-apps"

    def test_origin_agent_cluster_may_be_refused(self) -> None:
        assert header("origin-agent-cluster", origin_agent_cluster=False) == "?0"

    def test_frame_options_may_be_written_in_lower_case(self) -> None:
        assert header("x-frame-options", frame_options="deny") == "DENY"

    def test_the_removal_lists_name_no_header_that_we_send(self) -> None:
        assert not {name.lower() for name in (*OWASP, *RELICS)} & (STRICT | API).keys()


MISTAKES = [
    ("preload without a year", {"hsts": {"max_age": 60, "include_subdomains": True, "preload": True}}, "hsts-preload"),
    ("preload without subdomains", {"hsts": {"preload": True}}, "hsts-preload"),
    ("a negative max-age", {"hsts": {"max_age": -1}}, "greater_than_equal"),
    ("a line break in a value", {"extra": {"X-A": "a\r\nSet-Cookie: b=c"}}, "header-value"),
    ("NUL in a value", {"extra": {"X-A": "a\0"}}, "header-value"),
    ("an empty value", {"extra": {"X-A": ""}}, "header-value"),
    ("a value that is not ASCII", {"extra": {"X-A": "ä"}}, "header-value"),
    ("a line break in a name", {"extra": {"X-A\n": "a"}}, "header-name"),
    ("a name that frames the message", {"extra": {"Content-Length": "0"}}, "header-name"),
    ("a name that frames the message to remove", {"remove": ["transfer-encoding"]}, "header-name"),
    ("a name that is not ASCII", {"remove": ["X-Ä"]}, "header-name"),
    ("a header that has a field", {"extra": {"x-frame-options": "DENY"}}, "header-twice"),
    ("a header twice in different case", {"extra": {"X-A": "1", "x-a": "2"}}, "header-twice"),
    ("a line break in cache-control", {"cache_control": "a\nb"}, "header-value"),
    ("ALLOW-FROM", {"frame_options": "ALLOW-FROM https://a.example"}, "literal_error"),
    ("an unknown referrer policy", {"referrer_policy": ["never"]}, "literal_error"),
    ("an unknown feature", {"permissions_policy": {"camra": "self"}}, "permissions-policy-feature"),
    ("cross-origin-isolated", {"permissions_policy": {"cross-origin-isolated": "self"}}, "permissions-policy-feature"),
    ("a path as origin", {"permissions_policy": {"camera": "https://a.example/x"}}, "permissions-policy-allowlist"),
    ("an injected feature", {"permissions_policy": {"camera": 'self), usb=*, x=("a"'}}, "permissions-policy-allowlist"),
    ("a number as allowlist", {"permissions_policy": {"camera": 7}}, "tuple_type"),
    ("an unknown field", {"hstss": {}}, "extra_forbidden"),
    ("a rule without paths", {"rules": [{"frame_options": "DENY"}]}, "missing"),
    ("a rule with no path", {"rules": [{"paths": []}]}, "too_short"),
    ("a rule with half a pattern", {"rules": [{"paths": ["admin"]}]}, "path-pattern"),
    ("a mistake inside a rule", {"rules": [{"paths": "/x", "hsts": {"preload": True}}]}, "hsts-preload"),
]


@pytest.mark.parametrize(("fields", "code"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_refused_at_start(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(ValidationError) as refused:
        HeadersSettings(**fields)
    assert code in {error["type"] for error in refused.value.errors()}


def test_an_unknown_feature_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(ValidationError, match="did you mean camera"):
        HeadersSettings(permissions_policy={"camra": ("self",)})


def test_a_profile_laid_twice_is_laid_once() -> None:
    once = HeadersSettings().under("strict")
    assert once.under("strict") == once
