"""X-Frame-Options and frame-ancestors say the same, whichever of the two somebody set."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from secguard import Guard
from secguard._paths import PathRules
from tests.helpers import drive, http_scope, plain
from tests.settings_helpers import problem, problems, settings, wrong

SELF, NONE, SHOP = "'self'", "'none'", "https://shop.example.com"


def framing(path: str = "/", **code: Any) -> tuple[str | None, str | None]:
    """Return what both headers say of framing."""
    return said(Guard(plain, settings(**code)), path)


def said(app: Guard, path: str) -> tuple[str | None, str | None]:
    sent = drive(app, http_scope(path))
    policy, option = sent.header(b"content-security-policy"), sent.header(b"x-frame-options")
    ancestors = re.search(r"frame-ancestors ([^;]*)", policy.decode() if policy else "")
    return option.decode() if option else None, ancestors[1] if ancestors else None


def ancestors(value: object) -> dict[str, Any]:
    return {"directives": {"frame_ancestors": value}}


@pytest.mark.parametrize(
    ("code", "option", "named"),
    [
        pytest.param({}, "SAMEORIGIN", SELF, id="web"),
        pytest.param({"profile": "strict"}, "DENY", NONE, id="strict"),
        pytest.param({"profile": "api"}, "DENY", NONE, id="api"),
        pytest.param({"profile": "strict", "csp": {"rollout": "report"}}, "SAMEORIGIN", SELF, id="strict, rehearsed"),

        pytest.param({"csp": ancestors(NONE)}, "DENY", NONE, id="nobody by the policy"),
        pytest.param({"csp": ancestors(SELF), "profile": "strict"}, "SAMEORIGIN", SELF, id="oneself by the policy"),
        pytest.param({"csp": ancestors([SELF, SHOP])}, None, f"{SELF} {SHOP}", id="others"),
        pytest.param({"csp": ancestors(None)}, None, None, id="everybody by the policy"),

        pytest.param({"headers": {"frame_options": "DENY"}}, "DENY", NONE, id="nobody by the old header"),
        pytest.param({"headers": {"frame_options": "SAMEORIGIN"}, "profile": "strict"}, "SAMEORIGIN", SELF,
                     id="oneself by the old header"),
        pytest.param({"headers": {"frame_options": None}}, None, SELF, id="the old header off"),
        pytest.param({"headers": {"frame_options": None}, "csp": ancestors(SHOP)}, None, SHOP, id="off, and others"),
        pytest.param({"headers": {"frame_options": "DENY"}, "csp": ancestors(NONE)}, "DENY", NONE, id="both alike"),

        pytest.param({"csp": None}, "SAMEORIGIN", None, id="no policy"),
        pytest.param({"csp": None, "headers": {"frame_options": "DENY"}}, "DENY", None, id="no policy, and one set"),
        pytest.param({"headers": None, "csp": ancestors(NONE)}, None, NONE, id="no old header"),
    ],
)  # fmt: skip
def test_the_one_follows_the_other(code: dict[str, Any], option: str | None, named: str | None) -> None:
    assert framing(**code) == (option, named)


@pytest.mark.parametrize(
    ("csp", "headers", "option", "named"),
    [
        pytest.param([ancestors(SHOP)], [], None, SHOP, id="a rule of the policy"),
        pytest.param([ancestors(NONE)], [], "DENY", NONE, id="a stricter rule of the policy"),
        pytest.param([{"directives": {"img_src": SELF}}], [], "SAMEORIGIN", SELF, id="a rule about something else"),
        pytest.param([], [{"frame_options": "DENY"}], "DENY", NONE, id="a rule of the old header"),
        pytest.param([], [{"frame_options": None}], None, SELF, id="a rule that switches the old header off"),
        pytest.param([], [{"referrer_policy": "no-referrer"}], "SAMEORIGIN", SELF, id="another header rule"),
        pytest.param([ancestors(SHOP)], [{"frame_options": None}], None, SHOP, id="both alike"),
    ],
)
def test_rules_follow_too(csp: list[Any], headers: list[Any], option: str | None, named: str | None) -> None:
    paths = {"paths": ["/widget"]}
    code = {
        "csp": {"rules": [paths | rule for rule in csp]},
        "headers": {"rules": [paths | rule for rule in headers]},
    }
    assert framing("/widget/7", **code) == (option, named)
    assert framing("/", **code) == ("SAMEORIGIN", SELF)


def test_what_somebody_wrote_for_a_path_has_the_last_word() -> None:
    csp = {"rules": [{"paths": ["/widget"], **ancestors(SHOP)}]}
    headers = {"rules": [{"paths": ["/widget/old"], "frame_options": "DENY"}]}
    assert framing("/widget/old", csp=csp, headers=headers) == ("DENY", NONE)
    assert framing("/widget/new", csp=csp, headers=headers) == (None, SHOP)


@pytest.mark.parametrize(
    ("csp_path", "headers_path"), [("/a/*", "/*/b"), ("/*/b", "/a/*"), ("/{x}/b", "/a/{y}"), ("/a/b", "/a/b")]
)
@pytest.mark.parametrize(("option", "agreed"), [("DENY", ("DENY", NONE)), (None, (None, NONE))])
def test_of_rules_that_are_as_specific_as_each_other_the_one_of_headers_decides_for_both(
    csp_path: str, headers_path: str, option: str | None, agreed: tuple[str | None, str]
) -> None:
    csp = {"rules": [{"paths": [csp_path], **ancestors(NONE)}]}
    headers = {"rules": [{"paths": [headers_path], "frame_options": option}]}
    assert framing("/a/b", csp=csp, headers=headers) == agreed


def test_a_rule_of_headers_decides_for_both_over_one_that_allows_more() -> None:
    csp = {"rules": [{"paths": ["/a/*"], **ancestors(SHOP)}]}
    headers = {"rules": [{"paths": ["/*/b"], "frame_options": "DENY"}]}
    assert framing("/a/b", csp=csp, headers=headers) == ("DENY", NONE)
    assert framing("/a/c", csp=csp, headers=headers) == (None, SHOP)


# Few patterns, most of them for one path, so that many are as specific as each other there.
paths = st.lists(st.sampled_from(["/", "/a/*/*", "/*/b/*", "/{x}/b/{y}", "/*/*/c", "/a/b"]), min_size=1, max_size=2)
options = st.sampled_from(["SAMEORIGIN", "DENY", None])
sources = st.sampled_from([SELF, NONE, SHOP, [SELF, SHOP], None])
framed = st.fixed_dictionaries({"frame_options": options})
policed = st.builds(ancestors, sources)


def section(fields: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Sections that set these fields, or not, and have rules that do."""
    rules = st.lists(st.builds(lambda named, rule: {"paths": named, **rule}, paths, fields), max_size=3)
    return st.builds(lambda own, rules: {**own, "rules": rules}, fields | st.just({}), rules)


@given(section(framed), section(policed), st.sampled_from(["web", "strict", "api"]))
@limits(deadline=None, max_examples=400)
def test_settings_that_start_say_the_same_in_both_headers_on_every_path(
    headers: dict[str, Any], csp: dict[str, Any], profile: str
) -> None:
    code: dict[str, Any] = {"headers": headers, "csp": csp, "profile": profile}
    if told := wrong(**code):
        assert {problem.code for problem in told} == {"frame-options"}
        return
    switched_off = [
        part.get("paths", ["/"])
        for part in (headers, *headers["rules"])
        if "frame_options" in part and part["frame_options"] is None
    ]
    app = Guard(plain, settings(**code))
    for path in ("/", "/a/b", "/a/b/c", "/a/x/c", "/x/b/c"):
        option, named = said(app, path)
        may_lack = option is None and PathRules(switched_off).match([path])
        assert may_lack or option == {SELF: "SAMEORIGIN", NONE: "DENY"}.get(named or "")


def test_variables_count_as_written() -> None:
    env = {"SECGUARD_HEADERS__FRAME_OPTIONS": "DENY"}
    sent = drive(Guard(plain, settings(env)), http_scope())
    assert sent.header(b"x-frame-options") == b"DENY"
    assert b"frame-ancestors 'none'" in (sent.header(b"content-security-policy") or b"")


@pytest.mark.parametrize(
    ("option", "named", "said"),
    [
        ("DENY", SELF, "says DENY and frame-ancestors says 'self'"),
        ("SAMEORIGIN", SHOP, f"says SAMEORIGIN and frame-ancestors says {SHOP}"),
        ("SAMEORIGIN", None, "says SAMEORIGIN and frame-ancestors says nothing"),
    ],
)
def test_two_that_differ_stop_the_start(option: str, named: str | None, said: str) -> None:
    found = problem(headers={"frame_options": option}, csp=ancestors(named))
    assert (found.code, found.where) == ("frame-options", "Settings(headers=...) field frame_options")
    assert said in found.message


def test_rules_for_one_path_that_differ_stop_the_start() -> None:
    (first, second) = problems(
        headers={"frame_options": "DENY", "rules": [{"paths": ["/a", "/b"], "frame_options": "SAMEORIGIN"}]},
        csp={**ancestors(SELF), "rules": [{"paths": ["/b"], **ancestors(NONE)}, {"paths": ["/c"], **ancestors(SHOP)}]},
    )
    assert "field frame_options" in first.where
    assert "rules" in second.where
    assert "says SAMEORIGIN and frame-ancestors says 'none'" in second.message


def test_rules_for_the_same_paths_by_another_name_that_differ_stop_the_start() -> None:
    found = problem(
        csp={"rules": [{"paths": ["/e/{id}"], **ancestors(SHOP)}]},
        headers={"rules": [{"paths": ["/x", "/e/*"], "frame_options": "DENY"}]},
    )
    assert (found.code, found.where) == ("frame-options", "Settings(headers=...) field rules[0].frame_options")


def test_the_policy_cannot_be_set_as_an_extra_header() -> None:
    found = problem(headers={"extra": {"Content-Security-Policy": "default-src 'self'"}})
    assert found.code == "header-twice"
    assert "csp.directives or csp.report_only" in found.message
