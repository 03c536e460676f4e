"""csp(request): adding, replacing and dropping directives of one response, as strictly checked as at start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from starlette.requests import HTTPConnection
from starlette.types import Receive, Send

from secguard.csp import (
    NONCE,
    NONE,
    SELF,
    STRICT_DYNAMIC,
    UNSAFE_EVAL,
    UNSAFE_HASHES,
    UNSAFE_INLINE,
    Amendments,
    CSPMiddleware,
    CSPSettings,
    csp,
    hash_text,
)
from secguard.policy import Profile
from tests.csp_pages import ENFORCED, REPORT_ONLY, Policy, load, only, read, read_nonce
from tests.helpers import Scope, http_scope, plain, serve, websocket_scope

Change: TypeAlias = Callable[[Amendments], object]

CDN = "https://cdn.example.com"
HASH = hash_text("go()")


def amended(change: Change, *, reading: bool = False, **options: Any) -> Policy:
    """The policy of a page that makes this change; a nonce that was read is written as it was asked for."""

    def ask(request: HTTPConnection) -> str:
        change(csp(request))
        return read_nonce(request) if reading else ""

    sent = load(ask, **options)
    header = sent.header(ENFORCED) or b""
    return only(header.replace(b"'nonce-%b'" % sent.body, NONCE.encode())) if header else {}


def unchanged(**options: Any) -> Policy:
    return only(load(**options).header(ENFORCED))


# --- add ---

ADDED: dict[str, tuple[Profile, dict[str, Any], dict[str, Any], dict[str, tuple[str, ...]]]] = {
    "to what is there": ("web", {}, {"font_src": CDN}, {"font-src": (SELF, CDN)}),
    "several": ("web", {}, {"font_src": [CDN, "data:"]}, {"font-src": (SELF, CDN, "data:")}),
    "to several": ("web", {}, {"font_src": CDN, "frame_src": CDN}, {"font-src": (SELF, CDN), "frame-src": (SELF, CDN)}),
    "what is there already": ("web", {}, {"font_src": [SELF, CDN, CDN]}, {"font-src": (SELF, CDN)}),
    "in the place of 'none'": ("web", {}, {"object_src": CDN}, {"object-src": (CDN,)}),
    "'none', which adds nothing": ("web", {}, {"font_src": NONE}, {"font-src": (SELF,)}),
    "'none' to 'none'": ("web", {}, {"object_src": NONE}, {"object-src": (NONE,)}),
    "what falls back on default-src": ("web", {"default_src": ["https:"]}, {"fenced_frame_src": CDN},
        {"fenced-frame-src": (SELF, CDN)}),
    "what falls back on a 'none'": ("strict", {}, {"media_src": CDN}, {"media-src": (CDN,)}),
    "a worker, which falls back on child-src": ("strict", {"child_src": "blob:"}, {"worker_src": CDN},
        {"worker-src": ("blob:", CDN)}),
    "a worker, which falls back on script-src": ("api", {"script_src": [SELF, NONCE, "https:"]}, {"worker_src": CDN},
        {"worker-src": (SELF, "https:", CDN)}),
    "a worker, where 'strict-dynamic' allows any": ("strict", {}, {"worker_src": CDN},
        {"worker-src": ("*", "blob:", "data:", CDN)}),
    "to child-src, where it is there": ("strict", {"child_src": "blob:"}, {"child_src": CDN},
        {"child-src": ("blob:", CDN)}),
    "to a child-src that is not there, where no script runs": ("api", {}, {"child_src": CDN}, {"child-src": (CDN,)}),
    "to one that workers would not obey": ("web", {}, {"child_src": CDN}, {"child-src": (CDN,)}),
    "to one where frames may come from anywhere": ("strict", {"default_src": None}, {"child_src": CDN}, {}),
    "a frame, which falls back on child-src": ("strict", {"child_src": SELF}, {"frame_src": CDN},
        {"frame-src": (SELF, CDN)}),
    "script elements, which fall back on script-src": ("web", {}, {"script_src_elem": CDN},
        {"script-src-elem": (SELF, NONCE, CDN)}),
    "handlers, to which neither hosts nor nonces mean anything": ("web", {}, {"script_src_attr": [UNSAFE_HASHES, HASH]},
        {"script-src-attr": (UNSAFE_HASHES, HASH)}),
    "styles, to which 'unsafe-eval' means nothing": (
        "api", {"default_src": [NONCE, UNSAFE_EVAL, "https:"]}, {"style_src": CDN},
        {"style-src": (NONCE, "https:", CDN)}),
    "handlers, to which a hash means nothing without its word": ("web", {"script_src": [SELF, HASH]},
        {"script_src_attr": "'report-sample'"}, {"script-src-attr": ("'report-sample'",)}),
    "the word, by which hashes hold for handlers too": ("web", {"script_src": [SELF, HASH]},
        {"script_src_attr": UNSAFE_HASHES}, {"script-src-attr": (HASH, UNSAFE_HASHES)}),
    "a nonce": ("api", {}, {"script_src": NONCE}, {"script-src": (NONCE,)}),
    "a hash": ("web", {}, {"style_src": HASH}, {"style-src": (SELF, NONCE, HASH)}),
    "'strict-dynamic' beside a nonce that is there": ("api", {"script_src": NONCE}, {"script_src": STRICT_DYNAMIC},
        {"script-src": (NONCE, STRICT_DYNAMIC)}),
    "to what old browsers need": ("api", {"script_src": [UNSAFE_INLINE, "https:", NONCE, STRICT_DYNAMIC]},
        {"script_src": [HASH, "https:"]}, {"script-src": (UNSAFE_INLINE, "https:", NONCE, STRICT_DYNAMIC, HASH)}),
    "a form's target": ("web", {}, {"form_action": CDN}, {"form-action": (SELF, CDN)}),
    "a frame's ancestor": ("strict", {}, {"frame_ancestors": CDN}, {"frame-ancestors": (CDN,)}),
    "where everything is allowed": ("web", {"img_src": None, "default_src": None}, {"img_src": CDN}, {}),
    "where everything is allowed and nothing is fallen back on": ("web", {"form_action": None},
        {"form_action": CDN}, {}),
    "by the header's spelling": ("web", {}, {"font-src": CDN}, {"font-src": (SELF, CDN)}),
}  # fmt: skip


@pytest.mark.parametrize(("profile", "directives", "added", "expected"), ADDED.values(), ids=ADDED)
def test_adding(
    profile: Profile, directives: dict[str, Any], added: dict[str, Any], expected: dict[str, tuple[str, ...]]
) -> None:
    options: dict[str, Any] = {"profile": profile, "directives": directives}
    before = amended(lambda policy: policy, reading=True, **options)
    assert amended(lambda policy: policy.add(**added), reading=True, **options) == before | expected


@pytest.mark.parametrize("addition", ["'report-sample'", UNSAFE_HASHES])
@pytest.mark.parametrize("beside", [[NONCE, STRICT_DYNAMIC], [HASH]], ids=["a nonce", "a hash"])
def test_what_was_ignored_beside_a_nonce_or_a_hash_is_not_inherited(beside: list[str], addition: str) -> None:
    """`'unsafe-inline'` is there for old browsers (CSP 3 section 8.2): no handler may run by it all of a sudden."""
    sources = [UNSAFE_INLINE, *beside]
    policy = amended(lambda policy: policy.add(script_src_attr=addition), directives={"script_src": sources})
    assert UNSAFE_INLINE not in policy["script-src-attr"] or HASH in policy["script-src-attr"]


# --- replace and drop ---

REPLACED: dict[str, tuple[dict[str, Any], dict[str, tuple[str, ...] | None]]] = {
    "a list": ({"img_src": [CDN, "data:"]}, {"img-src": (CDN, "data:")}),
    "with nothing": ({"img_src": NONE}, {"img-src": (NONE,)}),
    "what is not there": ({"child_src": CDN}, {"child-src": (CDN,)}),
    "several": ({"img_src": CDN, "font_src": CDN}, {"img-src": (CDN,), "font-src": (CDN,)}),
    "with None, which leaves it out": ({"img_src": None}, {"img-src": None}),
    "a sandbox": ({"sandbox": ["allow-scripts"]}, {"sandbox": ("allow-scripts",)}),
    "the upgrade": ({"upgrade_insecure_requests": False}, {"upgrade-insecure-requests": None}),
    "trusted types": ({"require_trusted_types_for": "'script'"}, {"require-trusted-types-for": ("'script'",)}),
    "where reports go": ({"report_to": "csp"}, {"report-to": ("csp",)}),
    "by the header's spelling": ({"img-src": CDN}, {"img-src": (CDN,)}),
}


@pytest.mark.parametrize(("changes", "expected"), REPLACED.values(), ids=REPLACED)
def test_replacing(changes: dict[str, Any], expected: dict[str, tuple[str, ...] | None]) -> None:
    merged = {**unchanged(), **expected}
    wanted = {name: sources for name, sources in merged.items() if sources is not None}
    assert amended(lambda policy: policy.replace(**changes)) == wanted


@pytest.mark.parametrize(
    "names", [["img_src"], ["img-src"], ["img_src", "font_src"], ["img-src", "img-src"], ["child_src"], []]
)
def test_dropping(names: list[str]) -> None:
    gone = {name.replace("_", "-") for name in names}
    expected = {name: sources for name, sources in unchanged().items() if name not in gone}
    assert amended(lambda policy: policy.drop(*names)) == expected


def test_dropping_everything_sends_no_header() -> None:
    everything = unchanged(profile="api")
    assert amended(lambda policy: policy.drop(*everything), profile="api") == {}


def test_changes_follow_each_other_in_one_call_and_in_several() -> None:
    def ask(request: HTTPConnection) -> object:
        csp(request).add(img_src=CDN).replace(font_src=CDN).drop("media_src").add(font_src="data:")
        return csp(request).replace(img_src=[SELF, CDN]).add(img_src="blob:", media_src=CDN)

    policy = only(load(ask).header(ENFORCED))
    assert policy["img-src"] == (SELF, CDN, "blob:")
    assert policy["font-src"] == (CDN, "data:")
    assert policy["media-src"] == (CDN,), "from default-src, which allows nothing"


@pytest.mark.parametrize("kind", [list, tuple, set, iter, lambda sources: (source for source in sources)])
def test_sources_may_come_in_any_collection(kind: Any) -> None:
    for change in (
        lambda policy: policy.add(font_src=kind([CDN])),
        lambda policy: policy.replace(font_src=kind([CDN])),
    ):
        sent = load(lambda request, change=change: change(csp(request)), rollout="report")  # type: ignore[misc]
        assert CDN in only(sent.header(ENFORCED))["font-src"]
        assert CDN in only(sent.header(REPORT_ONLY))["font-src"]


# --- the whole response, and no other ---


def test_the_report_only_policies_are_changed_too() -> None:
    change: Change = lambda policy: policy.add(font_src=CDN).replace(frame_src=CDN).drop("style_src")  # noqa: E731
    sent = load(lambda request: change(csp(request)), rollout="report", report_only={"font_src": NONE})
    for policy in [*read(sent.header(ENFORCED)), *read(sent.header(REPORT_ONLY))]:
        assert policy["font-src"][-1] == policy["frame-src"][-1] == CDN
        assert "style-src" not in policy


@pytest.mark.parametrize("changes", [{"sandbox": ["allow-scripts"]}, {"upgrade_insecure_requests": True}])
def test_what_browsers_ignore_in_a_report_only_policy_never_gets_there(changes: dict[str, Any]) -> None:
    sent = load(lambda request: csp(request).replace(**changes), profile="api", rollout="report")
    (name,) = {name.replace("_", "-") for name in changes}
    assert name in only(sent.header(ENFORCED))
    assert name not in only(sent.header(REPORT_ONLY))


def test_what_only_a_report_only_policy_ignores_is_no_mistake() -> None:
    """A rollout to `strict` breaks no endpoint that adds a host: its report tells that the nonce is missing."""
    sent = load(lambda request: csp(request).add(script_src=CDN), rollout="report")
    assert only(sent.header(ENFORCED))["script-src"] == (SELF, CDN)
    assert only(sent.header(REPORT_ONLY))["script-src"] == (NONE,)


def test_a_change_starts_from_the_rules_of_the_path() -> None:
    rule = {"paths": ["/shop"], "directives": {"frame_src": "https://pay.example.com"}}
    for path, held in (("/shop", "https://pay.example.com"), ("/", SELF)):
        policy = amended(lambda policy: policy.add(frame_src=CDN), rules=[rule], scope=http_scope(path))
        assert policy["frame-src"] == (held, CDN)


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_changed_policy_and_the_nonce_go_together(scheme: str) -> None:
    policy = amended(lambda policy: policy.add(script_src=CDN), reading=True, scope=http_scope(scheme=scheme))
    assert policy["script-src"] == (SELF, NONCE, CDN)
    assert ("upgrade-insecure-requests" in policy) is (scheme == "https")
    assert amended(lambda policy: policy.add(script_src=CDN))["script-src"] == (SELF, CDN)


def test_a_websocket_has_a_policy_to_change() -> None:
    assert amended(lambda policy: policy.add(font_src=CDN), scope=websocket_scope())["font-src"] == (SELF, CDN)


def test_a_policy_of_the_apps_own_stands_whatever_was_changed() -> None:
    headers = [(b"content-security-policy", b"img-src *")]
    assert amended(lambda policy: policy.add(img_src=CDN), headers=headers) == {"img-src": ("*",)}


def test_no_other_response_is_changed() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        own = scope["path"].strip("/")
        policy = csp(HTTPConnection(scope))
        for turn in range(3):
            await asyncio.sleep(0)
            policy.add(img_src=f"https://{own}-{turn}.example")
        if own == "3":
            policy.drop("img_src")
        await plain(scope, receive, send)

    async def together() -> None:
        guard = CSPMiddleware(app, CSPSettings(directives={"img_src": SELF}))
        answers = await asyncio.gather(*(serve(guard, http_scope(f"/{at}")) for at in range(7)))
        for at, sent in enumerate(answers):
            expected = (SELF, *(f"https://{at}-{turn}.example" for turn in range(3))) if at != 3 else None
            assert only(sent.header(ENFORCED)).get("img-src") == expected

    asyncio.run(together())
    assert amended(lambda policy: policy)["img-src"] == unchanged()["img-src"]
