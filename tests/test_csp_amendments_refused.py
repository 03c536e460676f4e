"""csp(request), refused: what is wrong, too late or nobody's teaches, and leaves everything as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.requests import HTTPConnection
from starlette.types import Receive, Send

from secguard.csp import NONCE, SELF, STRICT_DYNAMIC, UNSAFE_HASHES, UNSAFE_INLINE, CSPMiddleware, csp
from tests.csp_pages import ENFORCED, load, page
from tests.helpers import Scope, attempt, drive, http_scope, plain
from tests.test_csp_amendments import CDN, HASH, Change
from tests.test_csp_lists import TOGETHER
from tests.test_csp_sources import WRONG


def refused(change: Change, **options: Any) -> str:
    """The message of the ValueError. The policy is the usual one, and what was changed before stands."""
    told: list[str] = []

    def ask(request: HTTPConnection) -> object:
        policy = csp(request).add(font_src=CDN)
        with pytest.raises(ValueError, match=r".") as caught:
            change(policy)
        told.append(str(caught.value))
        return ""

    usual = load(lambda request: csp(request).add(font_src=CDN), **options)
    sent = load(ask, **options)
    assert sent.headers == usual.headers
    return told[0]


@pytest.mark.parametrize("way", ["add", "replace"])
@pytest.mark.parametrize(("source", "told"), WRONG.values(), ids=WRONG)
def test_whatever_a_visitor_may_write_no_header_is_injected(way: str, source: str, told: str) -> None:
    message = refused(lambda policy: getattr(policy, way)(img_src=source))
    assert message.startswith("img_src: ")
    assert told in message
    assert message.isprintable(), "and none into a log"


@pytest.mark.parametrize(("name", "sources", "told"), TOGETHER.values(), ids=TOGETHER)
def test_what_makes_no_sense_together_is_refused(name: str, sources: list[str], told: str) -> None:
    assert told in refused(lambda policy: policy.replace(**{name: sources}))


HALVES: dict[str, tuple[str, str]] = {
    "an address for reports": ("report_uri", "/csp?tenant=a,https://evil.example/x"),
    "a Trusted Types policy": ("trusted_types", "app-x,*"),
    "a token of a sandbox": ("sandbox", "allow-forms,allow-scripts"),
    "a sink": ("require_trusted_types_for", "'script','script'"),
}


@pytest.mark.parametrize(("name", "text"), HALVES.values(), ids=HALVES)
def test_half_of_a_text_never_becomes_a_second_value(name: str, text: str) -> None:
    message = refused(lambda policy: policy.replace(**{name: text}))
    assert message.startswith(f"{name}: ")
    assert text in message


# CSP 3 sections 6.7.1.1 and 6.7.3.2. What is ignored in the list that results, and what to do about it.
IGNORED: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "a hash would silence 'unsafe-inline'": ({"script_src": [SELF, UNSAFE_INLINE]}, {"script_src": HASH},
        "ignore 'unsafe-inline' beside a nonce or a hash", "set the list with replace()"),
    "in a list that is inherited too": ({"style_src": [SELF, UNSAFE_INLINE]}, {"style_src_attr": [UNSAFE_HASHES, HASH]},
        "ignore 'unsafe-inline' beside a nonce or a hash", "set the list with replace()"),
    "'unsafe-inline' would do nothing beside a hash": ({"script_src": [SELF, HASH]}, {"script_src": UNSAFE_INLINE},
        "ignore 'unsafe-inline' beside a nonce or a hash", "set the list with replace()"),
    "'strict-dynamic' would silence 'self'": ({"script_src": [SELF, NONCE]}, {"script_src": STRICT_DYNAMIC},
        "ignore 'self' beside 'strict-dynamic'", "give the script element the nonce"),
    "and hosts, all of which are named": ({"script_src": [HASH, "https:", CDN]}, {"script_src": STRICT_DYNAMIC},
        f"ignore https: and {CDN} beside 'strict-dynamic'", "or set the list with replace()"),
    "a host would do nothing beside 'strict-dynamic'": ({"script_src": [NONCE, STRICT_DYNAMIC]}, {"script_src": CDN},
        f"ignore {CDN} beside 'strict-dynamic'", "give the script element the nonce"),
    "nor would one for script elements": ({"script_src": [NONCE, STRICT_DYNAMIC]}, {"script_src_elem": CDN},
        f"ignore {CDN} beside 'strict-dynamic'", "give the script element the nonce"),
    "nor one that comes with it": ({"script_src": None}, {"script_src": [NONCE, STRICT_DYNAMIC, SELF]},
        "ignore 'self' beside 'strict-dynamic'", "give the script element the nonce"),
}  # fmt: skip


@pytest.mark.parametrize(("directives", "added", "ignored", "remedy"), IGNORED.values(), ids=IGNORED)
def test_what_browsers_would_ignore_is_not_added(
    directives: dict[str, Any], added: dict[str, Any], ignored: str, remedy: str
) -> None:
    message = refused(lambda policy: policy.add(**added), directives=directives)
    (name,) = added
    assert message.startswith(f"{name}: browsers {ignored}")
    assert remedy in message


REFUSED: dict[str, tuple[Change, str]] = {
    "an unknown directive": (lambda policy: policy.add(img_scr=CDN), "Did you mean img_src?"),
    "an unknown directive, replaced": (lambda policy: policy.replace(**{"img-scr": CDN}), "Did you mean img_src?"),
    "an unknown directive, dropped": (lambda policy: policy.drop("img_scr"), "Did you mean img_src?"),
    "an obsolete directive": (lambda policy: policy.add(plugin_types="x/y"), "object_src"),
    "an obsolete directive, dropped": (lambda policy: policy.drop("block-all-mixed-content"), "upgrade_insecure"),
    "a name of Python's": (lambda policy: policy.add(model_config=CDN), "model_config"),
    "a directive in a name": (lambda policy: policy.replace(**{"img-src *; script-src": CDN}), "no directive"),
    "two spellings of one name": (lambda policy: policy.replace(img_src=CDN, **{"img-src": SELF}), "twice"),
    "an empty list": (lambda policy: policy.replace(img_src=[]), "it is empty"),
    "a token in a sandbox": (lambda policy: policy.replace(sandbox=["allow-everything"]), "sandbox: "),
    "a keyword that would take effect": (lambda policy: policy.add(script_src=UNSAFE_INLINE), "take one of the two"),
    "one right and one wrong": (lambda policy: policy.add(font_src="data:", img_src="a b"), "img_src: "),
    "no text": (lambda policy: policy.add(img_src=7), "img_src"),  # type: ignore[arg-type]
    "None to add": (lambda policy: policy.add(img_src=None), "img_src"),  # type: ignore[arg-type]
    "a yes to add": (lambda policy: policy.add(upgrade_insecure_requests=True), "replace"),  # type: ignore[arg-type]
    "a word to add": (lambda policy: policy.add(webrtc="'block'"), "replace"),
    "an endpoint to add": (lambda policy: policy.add(report_to="csp"), "replace"),
}


@pytest.mark.parametrize(("change", "told"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_a_value_error_that_teaches(change: Change, told: str) -> None:
    assert told in refused(change, rollout="report")


OF_WHICH: dict[str, tuple[dict[str, Any], Change, str]] = {
    "of the enforced policy first": ({}, lambda policy: policy.add(img_src="a b"), "enforced"),
    "of the enforced policy alone": ({"directives": {"style_src": [SELF, UNSAFE_INLINE]}, "report_only": {}},
        lambda policy: policy.add(style_src=NONCE), "enforced"),
    "of the report-only policy alone": ({"report_only": {"style_src": [SELF, UNSAFE_INLINE]}},
        lambda policy: policy.add(style_src=NONCE), "report-only"),
    "of a report-only policy that lacks what is added to": (
        {"directives": {"child_src": SELF}, "report_only": {"default_src": SELF, "script_src": SELF}},
        lambda policy: policy.add(child_src=CDN), "report-only"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "change", "kind"), OF_WHICH.values(), ids=OF_WHICH)
def test_a_mistake_says_of_which_policy_it_is_one(options: dict[str, Any], change: Change, kind: str) -> None:
    assert refused(change, **options).endswith(f" (in the {kind} policy)")


def test_no_child_src_takes_workers_out_of_script_src() -> None:
    message = refused(lambda policy: policy.add(child_src=CDN), profile="strict")
    assert message.startswith(
        "child_src: workers would obey it, and script_src no longer: add to frame_src or worker_src"
    )


def test_a_mistake_is_told_even_where_there_is_nothing_to_widen() -> None:
    options: dict[str, Any] = {"directives": {"img_src": None, "default_src": None}}
    assert "img_src: " in refused(lambda policy: policy.add(img_src="a b"), **options)


@pytest.mark.parametrize("name", ["img_src", "script_src"])
def test_no_visitor_makes_us_read_a_file_or_tell_whether_there_is_one(name: str, tmp_path: Path) -> None:
    tmp_path.joinpath("there").write_text("secret")
    messages = {
        refused(lambda policy, path=path: policy.add(**{name: f"'hash:{path}'"})).replace(str(path), "PATH")  # type: ignore[misc]
        for path in (tmp_path / "there", tmp_path / "gone", tmp_path)
    }
    assert len(messages) == 1
    assert "hash_file" in messages.pop()


@pytest.mark.parametrize(
    "change", [lambda policy: policy.add(img_src=CDN), lambda policy: policy.drop("img_src")], ids=["add", "drop"]
)
def test_too_late_is_an_error_that_says_so(change: Change) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        policy = csp(HTTPConnection(scope))
        await plain(scope, receive, send)
        change(policy)

    sent = attempt(CSPMiddleware(app), http_scope())
    assert sent.header(ENFORCED) == load().header(ENFORCED)
    assert isinstance(sent.error, RuntimeError)
    assert "too late" in str(sent.error)


@pytest.mark.parametrize("scope", [http_scope(), {**http_scope(), "state": {"other": 1}}])
def test_without_a_csp_section_it_says_which_variable_switches_it_on(scope: Scope) -> None:
    with pytest.raises(RuntimeError, match="SECGUARD_CSP"):
        drive(page(csp), scope)
    del scope["state"]
    with pytest.raises(RuntimeError, match="SECGUARD_CSP"):
        drive(page(csp), scope)
