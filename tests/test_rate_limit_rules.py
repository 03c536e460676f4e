"""Which limits hold for a request: by path, by method, and for whom none does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.guard import Guard
from secguard.policy import Context
from secguard.proxies import ProxiesSettings
from secguard.rate_limit import RateLimitPolicy, RateLimitRule, RateLimitSettings
from secguard.requests import RequestsPolicy, RequestsSettings
from tests.bypasses import PATHS
from tests.frameworks import SITES
from tests.helpers import drive, http_scope, plain
from tests.limited_apps import limited
from tests.test_frameworks import SERVERS, reached_by, scope_of

RULES: list[dict[str, Any]] = [
    {"paths": ["/users"], "limits": "40/minute"},
    {"paths": ["/users/{id}"], "limits": "30/minute"},
    {"paths": ["/users/me"], "limits": "20/minute"},
    {"paths": ["/users"], "methods": ["POST"], "limits": "10/minute", "name": "create"},
    {"paths": ["/a", "/b"], "limits": "5/minute; 6/hour", "name": "letters"},
    {"paths": ["/straße/{x}"], "limits": "4/minute"},
]


@pytest.mark.parametrize(
    ("method", "path", "policy"),
    [
        pytest.param("GET", "/", b'"default";q=99;w=60', id="no rule"),
        pytest.param("GET", "/usersx", b'"default";q=99;w=60', id="not a whole segment"),
        pytest.param("GET", "/users", b'"/users";q=40;w=60', id="a rule"),
        pytest.param("POST", "/users", b'"create";q=10;w=60', id="the last of two that are as specific"),
        pytest.param("POST", "/users/7", b'"/users/{id}";q=30;w=60', id="the more specific one"),
        pytest.param("GET", "/users/me/keys", b'"/users/me";q=20;w=60', id="literal before variable"),
        pytest.param("DELETE", "/b/c", b'"letters-60s";q=5;w=60, "letters-3600s";q=6;w=3600', id="several limits"),
        pytest.param("GET", "/straße/1", b'"/stra%C3%9Fe/{x}";q=4;w=60', id="a name that no header can carry"),
    ],
)
def test_most_specific_rule_decides_alone(method: str, path: str, policy: bytes) -> None:
    site = limited("99/minute", rules=RULES)
    assert site.ask(path, method=method).header(b"ratelimit-policy") == policy


def test_websocket_counts_as_a_get() -> None:
    site = limited("99/minute", rules=RULES)
    assert site.ask("/users", websocket=True).header(b"ratelimit-policy") == b'"/users";q=40;w=60'


def test_rule_for_get_is_for_head_too() -> None:
    site = limited(rules=[{"paths": ["/report"], "methods": ["GET"], "limits": "1/minute"}])
    assert [site.ask("/report", method=method).status for method in ("GET", "HEAD", "POST")] == [200, 429, 200]


def test_rule_without_a_default_leaves_the_rest_alone() -> None:
    site = limited(rules=[{"paths": ["/login"], "limits": "1/minute"}])
    assert [site.ask(path).status for path in ("/login", "/login", "/", "/")] == [200, 429, 200, 200]


def test_two_rules_never_share_a_count_unless_they_share_a_name() -> None:
    apart = limited(rules=[{"paths": ["/a"], "limits": "1/minute"}, {"paths": ["/b"], "limits": "1/minute"}])
    assert [apart.ask(path).status for path in ("/a", "/b", "/a")] == [200, 200, 429]
    named = [{"paths": [path], "limits": "1/minute", "name": "both"} for path in ("/a", "/b")]
    assert [limited(rules=named).ask(path).status for path in ("/a",)] == [200]
    together = limited(rules=named)
    assert [together.ask(path).status for path in ("/a", "/b")] == [200, 429]
    methods = [{"paths": ["/a"], "methods": [method], "limits": "1/minute"} for method in ("GET", "POST")]
    by_method = limited(rules=methods)
    assert [by_method.ask("/a", method=method).status for method in ("GET", "POST", "GET")] == [200, 200, 429]


def test_rule_has_a_key_and_a_cost_of_its_own() -> None:
    rules = [{"paths": ["/x"], "limits": "10/minute", "key": "global", "cost": 4}]
    site = limited("10/minute", rules=rules, cost=2)
    assert [site.ask("/x", f"192.0.2.{number}").status for number in range(3)] == [200, 200, 429]
    assert site.statuses(6) == [200] * 5 + [429]


@pytest.mark.parametrize("path", ["/api/login", "/login"])
@pytest.mark.parametrize("root", ["/api", "/api/"])
def test_root_paths_do_not_lift_a_rule(path: str, root: str) -> None:
    site = limited(rules=[{"paths": ["/login"], "limits": "1/minute"}])
    assert site.statuses(2, path, root_path=root) == [200, 429]


def test_path_that_may_be_routed_as_two_counts_for_the_rules_of_both() -> None:
    rules = [{"paths": ["/api/x"], "limits": "5/minute"}, {"paths": ["/x"], "limits": "3/minute"}]
    site = limited("9/minute", rules=rules)
    policy = site.ask("/api/x", root_path="/api").header(b"ratelimit-policy")
    assert policy == b'"/x";q=3;w=60, "/api/x";q=5;w=60'


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("site", SITES)
def test_no_trick_gets_around_the_limit_of_a_path(site: str, server: str) -> None:
    context = Context(sinks=())
    section = RateLimitSettings(rules=[RateLimitRule(paths=["/admin"], limits="1/year", key="global")])
    guard = Guard(
        SITES[site], policies=[RequestsPolicy(RequestsSettings(), context), RateLimitPolicy(section, context)]
    )
    attempts = [(target, scope_of(target, *SERVERS[server])) for target in PATHS]
    pages = [page for page in reached_by(guard, attempts).values() if page == "admin"]
    assert len(pages) <= 1, "the first attempt may have been counted, and found nothing"
    open_ = Guard(SITES[site], policies=[RequestsPolicy(RequestsSettings(), context)])
    assert list(reached_by(open_, attempts).values()).count("admin") > 1


@given(st.lists(st.sampled_from(["GET", "POST"]), min_size=1, max_size=20))
def test_methods_that_no_rule_names_fall_to_the_default(methods: list[str]) -> None:
    site = limited("3/minute", rules=[{"paths": ["/"], "methods": ["POST"], "limits": "2/minute"}])
    statuses = [(method, site.ask(method=method).status) for method in methods]
    assert statuses.count(("GET", 200)) == min(methods.count("GET"), 3)
    assert statuses.count(("POST", 200)) == min(methods.count("POST"), 2)


# --- exemptions ---


def test_exempt_path_is_not_counted_and_told_nothing() -> None:
    site = limited("1/minute", exempt={"paths": ["/health"]})
    assert site.statuses(5, "/health") == [200] * 5
    assert site.ask("/health").header(b"ratelimit") is None
    assert site.statuses(2) == [200, 429]
    assert site.ask("/healthy").status == 429


def test_exemption_holds_for_no_path_that_might_be_another() -> None:
    site = limited("1/minute", exempt={"paths": ["/health"]})
    assert site.statuses(2, "/health/api/x", root_path="/api") == [200, 429]


@pytest.mark.parametrize("client", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8:1::7"])
def test_exempt_network_is_not_counted(client: str) -> None:
    site = limited("1/minute", exempt={"networks": ["10.0.0.0/8", "2001:db8:1::/48"]})
    assert site.statuses(3, client=client) == [200] * 3
    assert site.statuses(2, client="192.0.2.1") == [200, 429]
    assert site.statuses(2, client=None) == [200, 429]


def test_exemption_switches_off_nothing_else() -> None:
    from secguard import Settings

    fields = {"default": "1/minute", "exempt": {"paths": ["/x"]}}
    settings = Settings(_env_file=None, rate_limit=fields, hosts={"allowed": ["example.org"]})
    app = Guard(plain, policies=settings.policies(sinks=()))
    assert drive(app, http_scope("/x")).status == 400


def test_exempt_network_is_the_client_behind_a_proxy() -> None:
    resolver = ProxiesSettings(trusted=["192.0.2.1"]).resolver(lambda *args, **detail: None)
    site = limited("1/minute", exempt={"networks": ["10.0.0.0/8"]}, context={"resolver": resolver})
    assert site.statuses(3, client="192.0.2.1", headers=[(b"x-forwarded-for", b"10.0.0.7")]) == [200] * 3
    assert site.statuses(2, client="192.0.2.9", headers=[(b"x-forwarded-for", b"10.0.0.7")]) == [200, 429]
