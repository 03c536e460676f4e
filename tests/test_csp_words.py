"""Directives that hold no sources: tokens, names, addresses and switches, right and wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from secguard.csp import ALLOW_DUPLICATES, NONE, SCRIPT, Directives
from tests.csp_pages import only
from tests.settings_helpers import settings
from tests.test_csp_directives import KNOWN, told, written

HELD: dict[str, tuple[dict[str, Any], str]] = {
    "a sandbox that allows nothing": ({"sandbox": []}, "sandbox"),
    "a sandbox that allows something": (
        {"sandbox": ["allow-scripts", "allow-forms"]},
        "sandbox allow-scripts allow-forms",
    ),
    "a sandbox as a text": ({"sandbox": "allow-scripts"}, "sandbox allow-scripts"),
    "trusted types": ({"require_trusted_types_for": SCRIPT}, "require-trusted-types-for 'script'"),
    "no policies": ({"trusted_types": NONE}, "trusted-types 'none'"),
    "no policies by an empty list": ({"trusted_types": []}, "trusted-types"),
    "policies": ({"trusted_types": ["dompurify", "a/b#c=d@e.f%", "*"]}, "trusted-types dompurify a/b#c=d@e.f% *"),
    "a policy twice": ({"trusted_types": ["default", ALLOW_DUPLICATES]}, "trusted-types default 'allow-duplicates'"),
    "trusted types, without quotes": ({"require_trusted_types_for": "script"}, "require-trusted-types-for 'script'"),
    "no WebRTC": ({"webrtc": "'block'"}, "webrtc 'block'"),
    "no WebRTC, without quotes": ({"webrtc": "block"}, "webrtc 'block'"),
    "WebRTC": ({"webrtc": "'allow'"}, "webrtc 'allow'"),
    "an upgrade": ({"upgrade_insecure_requests": True}, "upgrade-insecure-requests"),
    "no upgrade": ({"upgrade_insecure_requests": False, "img_src": NONE}, "img-src 'none'"),
    "an endpoint": ({"report_to": "csp-reports"}, "report-to csp-reports"),
    "a path for reports": ({"report_uri": "/csp?v=1"}, "report-uri /csp?v=1"),
    "addresses for reports": (
        {"report_uri": ["https://a.example/x", "http://b.example"]},
        "report-uri https://a.example/x http://b.example",
    ),
    "nothing": ({}, ""),
    "a directive that is left out": ({"img_src": None, "font_src": NONE}, "font-src 'none'"),
}


@pytest.mark.parametrize(("fields", "expected"), HELD.values(), ids=HELD)
def test_a_directive_is_written_as_the_header_has_it(fields: dict[str, Any], expected: str) -> None:
    assert written(**fields) == expected


def test_directives_are_written_in_one_order_however_they_were_named() -> None:
    names = dict.fromkeys(KNOWN[:20], NONE)
    backwards = {name: names[name] for name in reversed(names) if not name.endswith("-attr")}
    assert list(only(written(**backwards))) == [name for name in names if not name.endswith("-attr")]


NOT_HELD: dict[str, dict[str, Any]] = {
    "an unknown token of a sandbox": {"sandbox": ["allow-everything"]},
    "a token in capitals": {"sandbox": ["ALLOW-SCRIPTS"]},
    "an empty token": {"sandbox": ""},
    "two tokens in one text": {"sandbox": "allow-scripts,allow-same-origin"},
    "two sinks in one text": {"require_trusted_types_for": "'script','script'"},
    "another sink for trusted types": {"require_trusted_types_for": "'style'"},
    "WebRTC, perhaps": {"webrtc": "maybe"},
    "an upgrade that is no yes or no": {"upgrade_insecure_requests": "perhaps"},
    "a directive behind an upgrade": {"upgrade_insecure_requests": "true; script-src *"},
}
NOT_NAMED: dict[str, dict[str, Any]] = {
    "a policy with a blank in its name": {"trusted_types": ["my policy"]},
    "a quoted policy": {"trusted_types": ["'dompurify'"]},
    "a keyword without quotes": {"trusted_types": ["none"]},
    "two policies in one text": {"trusted_types": "app-x,*"},
    "a policy that ends the directive": {"trusted_types": ["a;script-src"]},
    "a policy without name": {"trusted_types": [""]},
    "a policy with LF": {"trusted_types": ["a\n"]},
    "a policy that is not ASCII": {"trusted_types": ["ä"]},
    "an endpoint with a blank": {"report_to": "csp reports"},
    "an endpoint that ends the directive": {"report_to": "csp;script-src"},
    "an endpoint that is a URL": {"report_to": "https://reports.example.com"},
    "an endpoint without name": {"report_to": ""},
    "an endpoint that begins with a digit": {"report_to": "1csp"},
    "an endpoint with LF": {"report_to": "csp\n"},
    "reports to nowhere": {"report_uri": ""},
    "reports to a name": {"report_uri": "csp-reports"},
    "reports to another scheme": {"report_uri": "ftp://a.example"},
    "reports with a blank": {"report_uri": ["/a b"]},
    "reports that end the directive": {"report_uri": ["/a;script-src"]},
    "reports that end the policy": {"report_uri": ["/a,b"]},
    "reports to two addresses in one text": {"report_uri": "/csp?tenant=a,https://evil.example/x"},
    "reports with CR LF": {"report_uri": ["/a\r\nx: y"]},
    "reports with NUL": {"report_uri": ["/a\0"]},
    "reports that are not ASCII": {"report_uri": ["/ä"]},
}


@pytest.mark.parametrize("fields", NOT_HELD.values(), ids=NOT_HELD)
def test_a_word_that_a_directive_does_not_know_stops_the_start(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Directives.model_validate(fields)


@pytest.mark.parametrize("fields", NOT_NAMED.values(), ids=NOT_NAMED)
def test_a_name_that_is_none_stops_the_start_and_shows_one_that_is(fields: dict[str, Any]) -> None:
    code, message = told(fields)
    assert code == "csp-source"
    assert "write " in message
    assert " like " in message
    assert message.splitlines() == [message]


def test_none_stands_alone_among_the_names_of_policies_too() -> None:
    """Trusted Types section 4.5.2: beside a name, `'none'` is ignored."""
    assert told({"trusted_types": [NONE, "dompurify"]})[0] == "csp-sources"


@pytest.mark.parametrize("name", ["CSP-Endpoint", "Csp", "cspReports"])
def test_an_endpoint_in_capitals_is_told_in_small_letters(name: str) -> None:
    """Reporting-Endpoints is a dictionary, whose keys have no capitals (RFC 8941 section 3.1.2)."""
    code, message = told({"report_to": name})
    assert code == "csp-source"
    assert message.endswith(f"write {name.lower()}")


@pytest.mark.parametrize("name", ["report_uri", "require_trusted_types_for"])
def test_a_directive_that_does_nothing_without_a_value_has_one(name: str) -> None:
    with pytest.raises(ValidationError):
        Directives.model_validate({name: []})


@pytest.mark.parametrize(("name", "value"), [("sandbox", "allow-forms"), ("trusted_types", "a"), ("report_uri", "/a")])
def test_a_value_that_stands_there_twice_is_sent_once(name: str, value: str) -> None:
    assert written(**{name: [value, value]}) == f"{name.replace('_', '-')} {value}"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("sandbox", "allow-forms,allow-scripts", ("allow-forms", "allow-scripts")),
        ("sandbox", "[]", ()),
        ("trusted_types", "dompurify, 'allow-duplicates'", ("dompurify", ALLOW_DUPLICATES)),
        ("require_trusted_types_for", "script", (SCRIPT,)),
        ("report_uri", "/csp, https://reports.example.com/csp", ("/csp", "https://reports.example.com/csp")),
    ],
)
def test_in_a_variable_commas_separate_words_as_they_do_sources(
    name: str, value: str, expected: tuple[str, ...]
) -> None:
    made = settings({f"SECGUARD_CSP__DIRECTIVES__{name.upper()}": value})
    assert made.csp is not None
    assert getattr(made.csp.directives, name) == expected
