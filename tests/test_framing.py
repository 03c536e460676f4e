"""X-Frame-Options and frame-ancestors say the same, whichever of the two somebody set."""

from __future__ import annotations

import re
from typing import Any

import pytest

from secguard import Guard
from tests.helpers import drive, http_scope, plain
from tests.settings_helpers import problem, problems, settings

SELF, NONE, SHOP = "'self'", "'none'", "https://shop.example.com"


def framing(path: str = "/", **code: Any) -> tuple[str | None, str | None]:
    """Return what both headers say of framing."""
    sent = drive(Guard(plain, settings(**code)), http_scope(path))
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


def test_the_policy_cannot_be_set_as_an_extra_header() -> None:
    found = problem(headers={"extra": {"Content-Security-Policy": "default-src 'self'"}})
    assert found.code == "header-twice"
    assert "csp.directives or csp.report_only" in found.message
