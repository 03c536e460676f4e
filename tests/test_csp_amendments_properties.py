"""What holds for any change: add never removes, replace sets exactly, drop removes."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from secguard.csp import NONCE, NONE, STRICT_DYNAMIC, UNSAFE_HASHES, UNSAFE_INLINE, CSPMiddleware, CSPSettings, csp
from tests.csp_pages import ENFORCED, REPORT_ONLY, Policy, page, read, read_nonce
from tests.helpers import http_scope, step_through
from tests.test_csp_browser import HASH, Inline, allows, deeds, holding
from tests.test_csp_properties import HOSTS, NOTHING, lists, policies, relaxed
from tests.test_csp_sources import KINDS

LOADING = [name for name in KINDS if not name.endswith("_attr")]
WANTED = st.sampled_from(list(KINDS)).flatmap(lambda name: st.tuples(st.just(name), lists(name)))


def before_and_after(directives: dict[str, Any], report: dict[str, Any], change: Any) -> list[tuple[Policy, Policy]]:
    """Each policy of a page, without and with a change, the report-only one last. The nonce is written 'nonce'."""
    section = CSPSettings(directives=NOTHING | directives, report_only=report)
    both = []
    for ask in (lambda policy: None, change):

        def asking(request: Any, ask: Any = ask) -> str:
            ask(csp(request))
            return read_nonce(request)

        sent = step_through(CSPMiddleware(page(asking), section, profile="api"), http_scope(), [])
        assume(not isinstance(sent.error, ValueError))  # together with what is there, it may make no sense
        assert sent.error is None
        headers = [sent.header(name) or b"" for name in (ENFORCED, REPORT_ONLY)]
        plain = [header.replace(b"'nonce-%b'" % sent.body, NONCE.encode()) for header in headers]
        both.append([read(header)[0] if header else {} for header in plain])
    return list(zip(*both, strict=True))


def effective(policy: Policy, name: str, beside: list[str]) -> set[str] | None:
    """What a directive says, or what holds in its place as far as it means something there, beside what is added."""
    held = holding(policy, name)
    if held is None:
        return None
    if name == "worker-src" and held == "script-src" and STRICT_DYNAMIC in policy[held]:
        return {"*", "blob:", "data:"}
    sources, known = policy[held], KINDS[name.replace("-", "_")]
    attributes = name.endswith("-attr")
    hashes = UNSAFE_HASHES in (*sources, *beside) if attributes else UNSAFE_INLINE in known
    meant = {source for source in sources if source in known or (source == HASH and hashes)}
    return meant - {NONE} | {source for source in sources if not (attributes or source.startswith("'"))}


def as_sent(policy: Policy) -> Policy:
    """The policy as a browser gets it, with "nonce" for a nonce."""
    return {name: tuple("'nonce-nonce'" if at == NONCE else at for at in sources) for name, sources in policy.items()}


def without(policy: Policy, name: str) -> Policy:
    return {other: sources for other, sources in policy.items() if other != name}


@given(policies, policies, WANTED)
@example({"script_src": [HASH]}, {"script_src": [HASH]}, ("script_src_attr", ["'report-sample'"]))
@example({"script_src": [HASH]}, {"script_src": [HASH]}, ("script_src_attr", [UNSAFE_HASHES]))
@relaxed
def test_adding_never_removes_and_adds_what_it_was_told(
    directives: dict[str, Any], report: dict[str, Any], addition: tuple[str, list[str]]
) -> None:
    field, sources = addition
    name = field.replace("_", "-")
    for before, after in before_and_after(directives, report, lambda policy: policy.add(**{field: sources})):
        assert without(after, name) == without(before, name), "nothing else has changed"
        was, now = effective(before, name, sources), effective(after, name, sources)
        if was is None or now is None:
            assert before == after, "what allows everything goes on allowing it"
            continue
        if name not in before:
            was -= {UNSAFE_INLINE}  # where it comes from, it may have been ignored
            now -= {UNSAFE_INLINE} - set(sources)
        assert now == was | (set(sources) - {NONE})
        assert after[name].count(NONE) == (not now and UNSAFE_INLINE not in after[name])


@given(policies, st.sampled_from(list(KINDS)), st.lists(st.sampled_from(HOSTS), min_size=1, max_size=3))
@example({"script_src": [UNSAFE_INLINE, NONCE, STRICT_DYNAMIC]}, "script_src_attr", ["data:"])
@example({"default_src": [UNSAFE_INLINE, HASH]}, "style_src_attr", ["data:"])
@relaxed
def test_adding_hosts_allows_what_they_allow_and_nothing_else(
    directives: dict[str, Any], field: str, hosts: list[str]
) -> None:
    ((before, after), _) = before_and_after(directives, {}, lambda policy: policy.add(**{field: hosts}))
    alone = {field.replace("_", "-"): tuple(hosts)}
    for deed in deeds("nonce"):
        was, now = allows([as_sent(before)], deed), allows([as_sent(after)], deed)
        assert was or not now or (allows([alone], deed) and not isinstance(deed, Inline)), deed


@given(policies, WANTED)
@example({"script_src": [NONCE, STRICT_DYNAMIC]}, ("worker_src", ["https:"]))
@example({"script_src": [HASH, STRICT_DYNAMIC], "default_src": [NONE]}, ("child_src", ["https:"]))
@example({"script_src": [UNSAFE_INLINE, "https:"]}, ("script_src", [HASH]))
@example({"script_src": [NONCE, "https:"]}, ("script_src", [STRICT_DYNAMIC, HASH]))
@example({"default_src": ["https:"]}, ("style_src_attr", [UNSAFE_HASHES, HASH]))
@relaxed
def test_adding_takes_nothing_away(directives: dict[str, Any], addition: tuple[str, list[str]]) -> None:
    """As a browser decides."""
    field, sources = addition
    ((before, after), _) = before_and_after(directives, {}, lambda policy: policy.add(**{field: sources}))
    for deed in deeds("nonce"):
        assert allows([as_sent(after)], deed) or not allows([as_sent(before)], deed), deed


@given(policies, policies, WANTED)
@relaxed
def test_replacing_sets_exactly_and_dropping_removes(
    directives: dict[str, Any], report: dict[str, Any], wanted: tuple[str, list[str]]
) -> None:
    field, sources = wanted
    name = field.replace("_", "-")
    for before, after in before_and_after(directives, report, lambda policy: policy.replace(**{field: sources})):
        assert after == before | {name: tuple(dict.fromkeys(sources))}
    for before, after in before_and_after(directives, report, lambda policy: policy.drop(field)):
        assert after == without(before, name)
