"""What holds for any sources and any text: judged by a parser and a browser of the tests' own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from pydantic import ValidationError

from secguard.csp import (
    NONCE,
    NONE,
    STRICT_DYNAMIC,
    UNSAFE_HASHES,
    UNSAFE_INLINE,
    CSPMiddleware,
    CSPSettings,
    Directives,
    csp,
)
from tests.csp_pages import ENFORCED, Policy, only, page, read, read_nonce
from tests.helpers import http_scope, step_through
from tests.test_csp_browser import HASH, Fetch, allows, deeds
from tests.test_csp_sources import KINDS

relaxed = limits(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

NOTHING = dict.fromkeys(Directives.model_fields)
HOSTS = [
    *"https: http: data: blob: wss: * *.example.com cdn.example.com:* example.com/a%3Bb".split(),
    *"https://cdn.example.com https://cdn.example.com/lib/ https://cdn.example.com/'nonce'".split(),
]


def enforced(directives: dict[str, Any], ask: Any = None, scheme: str = "https") -> tuple[bytes, str]:
    """The header of a page with these directives and no others, and the nonce that it read."""
    app = CSPMiddleware(page(ask), CSPSettings(directives=NOTHING | directives), profile="api")
    sent = step_through(app, http_scope(scheme=scheme), [])
    if sent.error:
        raise sent.error
    return sent.header(ENFORCED) or b"", sent.body.decode()


def parsed(header: bytes) -> Policy:
    return only(header) if header else {}


# --- lists of sources that pass ---


def makes_sense(name: str, sources: list[str]) -> bool:
    """Whether the sources may stand together, which test_csp_lists.py has the table of."""
    if name.endswith("_attr"):
        return HASH not in sources or UNSAFE_HASHES in sources
    anchored = NONCE in sources or HASH in sources
    strict = STRICT_DYNAMIC in sources
    if UNSAFE_INLINE in sources and NONCE in sources and HASH not in sources and not strict:
        return False
    return anchored or not strict


def lists(name: str) -> st.SearchStrategy[list[str]]:
    """Lists of sources that pass, for a directive."""
    hashes = [HASH] if UNSAFE_INLINE in KINDS[name] else []
    hosts = [] if name.endswith("_attr") else HOSTS
    known = [*sorted(KINDS[name] - {NONE}), *hosts, *hashes]
    several = st.lists(st.sampled_from(known), min_size=1, max_size=5)
    return st.just([NONE]) | several.filter(lambda sources: makes_sense(name, sources))


policies: st.SearchStrategy[dict[str, Any]] = st.lists(st.sampled_from(list(KINDS)), unique=True, max_size=5).flatmap(
    lambda names: st.fixed_dictionaries({name: lists(name) for name in names})
)
others = st.fixed_dictionaries(
    {},
    optional={
        "sandbox": st.lists(st.sampled_from(["allow-scripts", "allow-forms"]), unique=True),
        "require_trusted_types_for": st.just(["'script'"]),
        "trusted_types": st.lists(st.sampled_from(["default", "a/b", "*"]), min_size=1, unique=True),
        "report_to": st.just("csp"),
        "report_uri": st.lists(st.sampled_from(["/csp", "https://r.example/'nonce'?a=b"]), min_size=1, unique=True),
        "webrtc": st.sampled_from(["'allow'", "'block'"]),
        "upgrade_insecure_requests": st.booleans(),
    },
)


def expected(directives: dict[str, Any], nonce: str, *, secure: bool) -> Policy:
    """The policy that these directives are, as the header has it."""
    policy: Policy = {}
    for name, value in directives.items():
        if value is False or (value is True and not secure):
            continue
        words = [value] if isinstance(value, str) else [] if value is True else value
        sent = (f"'nonce-{nonce}'" if word == NONCE else word for word in words)
        policy[name.replace("_", "-")] = tuple(dict.fromkeys(sent))
    return policy


@given(policies, others, st.booleans())
@relaxed
def test_a_header_parses_back_to_exactly_the_directives_that_were_given(
    lists: dict[str, Any], more: dict[str, Any], secure: bool
) -> None:
    header, nonce = enforced(lists | more, read_nonce, "https" if secure else "http")
    assert nonce
    assert parsed(header) == expected(lists | more, nonce, secure=secure)


@given(policies, others)
@relaxed
def test_unread_it_parses_back_too_and_differs_in_lists_with_a_nonce_only(
    lists: dict[str, Any], more: dict[str, Any]
) -> None:
    policy, whole = parsed(enforced(lists | more)[0]), expected(lists | more, "", secure=True)
    assert policy.keys() == whole.keys()
    for name, sources in whole.items():
        left = set(sources) - {"'nonce-'"}
        assert policy[name] == (sources if len(left) == len(sources) else policy[name])
        assert set(policy[name]) == left or policy[name] == (NONE,)


@given(policies)
@example({"script_src": [NONCE, STRICT_DYNAMIC, UNSAFE_INLINE, "https:"]})
@example({"default_src": [NONCE, UNSAFE_INLINE, HASH], "style_src_attr": [UNSAFE_INLINE]})
@relaxed
def test_a_page_that_does_not_read_its_nonce_may_never_do_more_than_one_that_does(directives: dict[str, Any]) -> None:
    header, nonce = enforced(directives, read_nonce)
    with_nonce, without = read(header or None), read(enforced(directives)[0] or None)
    for deed in deeds(nonce):
        assert allows(with_nonce, deed) or not allows(without, deed), deed


@given(policies)
@example({"default_src": [NONCE, "https:"], "script_src": [NONCE, STRICT_DYNAMIC]})
@relaxed
def test_a_page_that_does_not_read_its_nonce_loads_what_no_nonce_decides(directives: dict[str, Any]) -> None:
    """Images, frames, requests. Workers are scripts, where no list is their own (CSP 3 section 6.8.3)."""
    header, nonce = enforced(directives, read_nonce)
    with_nonce, without = read(header or None), read(enforced(directives)[0] or None)
    for deed in deeds(nonce):
        if isinstance(deed, Fetch) and deed.directive != "worker-src":
            assert allows(with_nonce, deed) == allows(without, deed), deed


# --- any text at all ---

PIECES = [
    *"'\"`;,: \t\r\n\0/*?#@%\\[]",
    *["\u00a0", "\u2028", "\u200b", "\x7f", "\x85", "é", "\ud800", "\uff33elf", "\u017felf", "\u0130", "\u212a"],
    *["'self'", "'none'", "'nonce'", "'nonce-", "'unsafe-inline'", "'strict-dynamic'", "'hash:", "sha256-", HASH],
    *["self", "none", "nonce", "script-src", "https:", "//", "example.com", "data:", "*.", "%3B", "\r\n\r\n<script>"],
]
texts = (
    st.lists(st.sampled_from(PIECES), max_size=4).map("".join)
    | st.text(max_size=12)
    | st.sampled_from([*HOSTS, *PIECES])
)
BEFORE = {"script_src_elem": [NONCE], "form_action": [NONE], "base_uri": ["https:"]}
NAMES = [name for name in KINDS if name not in BEFORE]


def as_sent(text: str, nonce: str | None) -> set[tuple[str, ...]]:
    """What may become of a text that passes: itself, in small letters where it is a keyword or algorithm, the nonce."""
    if text.lower() == NONCE:
        return {(f"'nonce-{nonce}'" if nonce else NONE,)}
    algorithm, dash, digest = text.partition("-")
    return {(text,), (text.lower(),), (algorithm.lower() + dash + digest,)}


@given(st.sampled_from(NAMES), texts)
@example("img_src", "https://a.example/'nonce'")
@example("script_src", "'SELF'")
@example("script_src", HASH.replace("sha", "SHA"))
@example("script_src", f"{HASH};script-src *")
@example("style_src", "'nonce-None'")
@example("style_src", "'sha256-\udcff'")
@relaxed
def test_any_text_is_refused_or_sent_as_it_is_and_changes_nothing_else(name: str, text: str) -> None:
    try:
        header, nonce = enforced(BEFORE | {name: text}, read_nonce)
    except ValidationError as error:
        told = error.errors()
    else:
        policy = parsed(header)
        assert policy.pop(name.replace("_", "-")) in as_sent(text, nonce)
        assert policy == expected(BEFORE, nonce, secure=True)
        return
    assert [problem["loc"] for problem in told] == [("directives", name)]
    assert told[0]["type"] in {"csp-source", "csp-sources", "csp-hash", "string_unicode"}


@given(st.sampled_from(NAMES), texts)
@example("img_src", "'hash:/etc/hostname'")
@relaxed
def test_in_a_change_any_text_is_refused_or_sent_as_it_is_too(name: str, text: str) -> None:
    def ask(request: Any) -> str:
        try:
            csp(request).replace(**{name: text})
        except ValueError as error:
            return "refused" if str(error).isprintable() else "refused, and a log would be forged"
        return ""

    header, told = enforced(BEFORE, ask)
    policy = parsed(header)
    assert told in {"", "refused"}
    if not told:
        assert policy.pop(name.replace("_", "-")) in as_sent(text, None)
    assert policy == expected(BEFORE | {"script_src_elem": [NONE]}, "", secure=True)


@pytest.mark.parametrize("piece", PIECES)
@given(st.data())
@limits(relaxed, max_examples=5)
def test_no_piece_gets_into_a_header_by_way_of_a_name(piece: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["img-src", "img_src", ""])) + piece
    assume(name.replace("-", "_") not in Directives.model_fields)
    with pytest.raises(ValidationError):
        CSPSettings.model_validate({"directives": {name: "'self'"}})
