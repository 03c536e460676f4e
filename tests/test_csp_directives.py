"""Directives: their names, in whatever spelling, the layers they lie in, and the mistakes that stop the start."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from secguard.csp import NONCE, NONE, SELF, CSPFields, CSPRule, CSPSettings, Directives
from tests.settings_helpers import problem, problems, settings

# CSP 3 section 6, Trusted Types section 4.5, Upgrade Insecure Requests section 3.1, Fenced Frame section 4.1.
KNOWN = (
    "default-src script-src script-src-elem script-src-attr style-src style-src-elem style-src-attr img-src media-src "
    "font-src connect-src frame-src fenced-frame-src child-src worker-src manifest-src object-src base-uri form-action "
    "frame-ancestors sandbox require-trusted-types-for trusted-types webrtc upgrade-insecure-requests report-uri "
    "report-to"
).split()
OBSOLETE = {
    "block-all-mixed-content": "upgrade_insecure_requests",
    "navigate-to": "form_action",
    "plugin-types": "object_src",
    "prefetch-src": "default_src",
    "referrer": "SECGUARD_HEADERS__REFERRER_POLICY",
    "reflected-xss": "script_src",
    "require-sri-for": "Integrity-Policy",
}


def written(**fields: Any) -> str:
    return str(Directives.model_validate(fields))


def told(fields: dict[str, Any]) -> tuple[str, str]:
    """Code and message of the only thing that is wrong."""
    with pytest.raises(ValidationError) as caught:
        Directives.model_validate(fields)
    (error,) = caught.value.errors()
    return error["type"], error["msg"]


# --- names ---


def test_every_directive_of_the_specifications_is_known_and_no_other() -> None:
    assert [name.replace("_", "-") for name in Directives.model_fields] == KNOWN


def test_a_directive_may_be_written_as_in_the_header() -> None:
    assert Directives.model_validate({"img-src": SELF}) == Directives(img_src=SELF)
    section = CSPSettings.model_validate({"directives": {"img-src": SELF}, "report_only": {"script-src-elem": NONE}})
    assert section == CSPSettings(directives={"img_src": SELF}, report_only={"script_src_elem": NONE})


@pytest.mark.parametrize(
    ("env", "code"),
    [
        ({"SECGUARD_CSP__DIRECTIVES__IMG_SRC": "data:"}, {}),
        ({"SECGUARD_CSP__DIRECTIVES": '{"img-src": "data:"}'}, {}),
        ({"SECGUARD_CSP": '{"directives": {"img_src": ["data:"]}}'}, {}),
        ({}, {"csp": {"directives": {"img-src": "data:"}}}),
        ({"SECGUARD_CSP__DIRECTIVES__IMG_SRC": "blob:"}, {"csp": {"directives": {"img-src": "data:"}}}),
    ],
)
def test_however_it_is_written_it_is_the_same_directive(env: dict[str, str], code: dict[str, Any]) -> None:
    made = settings(env, **code)
    assert made.csp is not None
    assert made.csp.directives == Directives(img_src="data:")


def test_two_spellings_of_one_directive_are_one_too_many() -> None:
    """A browser would take the first and drop the second without a word (CSP 3 section 2.2.1)."""
    code, message = told({"img-src": SELF, "img_src": NONE})
    assert code == "csp-twice"
    assert "keep one of them" in message


@pytest.mark.parametrize("name", ["img", "img_scr", "script_src_elements", "default", "", "img src", "img-src;x", "é"])
def test_an_unknown_directive_stops_the_start(name: str) -> None:
    """PITFALLS: unknown directives silently dropped."""
    assert told({name: SELF})[0] == "extra_forbidden"
    found = problem(csp={"directives": {name: SELF}})
    assert found.code == "unknown-field"


def test_a_mistyped_directive_is_told_what_was_meant() -> None:
    assert "img_src" in problem(csp={"directives": {"img-scr": SELF}}).message
    found = problem({"SECGUARD_CSP__DIRECTIVES__IMG_SCR": "'self'"})
    assert found.code == "unknown-variable"
    assert "SECGUARD_CSP__DIRECTIVES__IMG_SRC" in found.message


@pytest.mark.parametrize("part", ["directives", "report_only"])
@pytest.mark.parametrize(("name", "modern"), OBSOLETE.items())
def test_an_obsolete_directive_stops_the_start_and_the_modern_one_is_named(name: str, modern: str, part: str) -> None:
    field = name.replace("-", "_")
    for spelling in (name, field):
        found = problem(csp={part: {spelling: "x"}})
        assert found.code == "unknown-field"
        assert modern in found.message
    found = problem({f"SECGUARD_CSP__{part.upper()}__{field.upper()}": "x"})
    assert found.code == "unknown-variable"
    assert modern in found.message


def test_all_mistakes_are_told_at_once() -> None:
    env = {
        "SECGUARD_CSP__DIRECTIVES__SCRIPT_SRC": "self",
        "SECGUARD_CSP__DIRECTIVES__IMG_SRC": "[]",
        "SECGUARD_CSP__DIRECTIVES__PLUGIN_TYPES": "x/y",
        "SECGUARD_CSP__ROLLOUT": "maybe",
        "SECGUARD_CSP__RULES": json.dumps([{"paths": ["/a"], "directives": {"font_src": "a b"}}]),
    }
    assert sorted(found.code for found in problems(env)) == sorted(
        ["csp-source", "csp-sources", "unknown-variable", "invalid-value", "csp-source"]
    )


# --- laying over ---


def test_directives_over_others_take_their_place_and_leave_the_rest() -> None:
    below = Directives(img_src=SELF, font_src=SELF, script_src=[SELF, NONCE])
    above = Directives(img_src=NONE, font_src=None, media_src=SELF)
    assert str(above.over(below)) == "script-src 'self' 'nonce'; img-src 'none'; media-src 'self'"
    assert str(below) == "script-src 'self' 'nonce'; img-src 'self'; font-src 'self'"


def test_directives_are_frozen() -> None:
    held = Directives(img_src=SELF)
    with pytest.raises(ValidationError):
        held.img_src = (NONE,)  # type: ignore[misc]


def test_directives_may_be_passed_made() -> None:
    held = Directives(img_src=SELF)
    assert CSPSettings(directives=held, report_only=held).directives is held
    with pytest.raises(ValidationError):
        CSPSettings.model_validate({"directives": "img-src 'self'"})


# --- report_only ---

IGNORED: dict[str, Any] = {"sandbox": ["allow-scripts"], "upgrade_insecure_requests": True}


@pytest.mark.parametrize("fields", [{"sandbox": []}, IGNORED, {"upgrade_insecure_requests": False}])
@pytest.mark.parametrize("part", [CSPSettings, CSPRule])
def test_what_browsers_ignore_in_a_report_only_policy_stops_the_start(
    fields: dict[str, Any], part: type[CSPFields]
) -> None:
    paths = {"paths": ["/a"]} if part is CSPRule else {}
    with pytest.raises(ValidationError) as caught:
        part.model_validate({**paths, "report_only": fields})
    (error,) = caught.value.errors()
    assert (error["type"], error["loc"]) == ("csp-report-only", ("report_only",))
    assert all(name in error["msg"] for name in fields)


def test_a_report_only_policy_is_written_in_variables_like_the_other() -> None:
    made = settings({"SECGUARD_CSP__REPORT_ONLY__IMG_SRC": "'self', data:"})
    assert made.csp is not None
    assert made.csp.report_only == Directives(img_src=[SELF, "data:"])
    found = problem({"SECGUARD_CSP__REPORT_ONLY__SANDBOX": "allow-forms"})
    assert found.code == "csp-report-only"


def test_off_leaves_a_directive_out_and_the_section_too() -> None:
    made = settings({"SECGUARD_CSP__DIRECTIVES__MEDIA_SRC": "off", "SECGUARD_CSP__REPORT_ONLY": "off"})
    assert made.csp is not None
    assert made.csp.directives.model_fields_set == {"media_src"}
    assert (made.csp.directives.media_src, made.csp.report_only) == (None, None)
    assert settings({"SECGUARD_CSP": "off"}).csp is None


# --- rules ---


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"directives": {"img_src": NONE}}, "missing-value"),
        ({"paths": [], "directives": {"img_src": NONE}}, "invalid-value"),
        ({"paths": ["shop"]}, "path-pattern"),
        ({"paths": ["/shop"], "rollout": "report"}, "unknown-field"),
        ({"paths": ["/shop"], "directives": {"script-src": "self"}}, "csp-source"),
    ],
)
def test_a_rule_is_checked_as_strictly_as_the_section(rule: dict[str, Any], code: str) -> None:
    assert problem(csp={"rules": [rule]}).code == code
