"""Lists of sources: what makes sense together, in what collection or variable it stands, and what is told at once."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from secguard.csp import HTTPS, NONCE, NONE, SELF, STRICT_DYNAMIC, UNSAFE_HASHES, UNSAFE_INLINE, Directives
from tests.settings_helpers import problem, settings
from tests.test_csp_sources import HASH, written, wrong

TOGETHER: dict[str, tuple[str, list[str], str]] = {
    "a hash for attributes": ("style_src_attr", [HASH], "beside 'unsafe-hashes' only: put it there"),
    "a hash that silences 'unsafe-inline'": ("script_src_attr", [UNSAFE_INLINE, HASH], "'unsafe-hashes' only"),
    "an empty list": ("img_src", [], "it is empty: write 'none' to allow nothing, or None (off)"),
    "'none' beside a host": ("img_src", [NONE, "example.com"], "'none' stands alone"),
    "'none' beside 'self'": ("script_src", [SELF, NONE], "'none' stands alone"),
    "'none' beside the nonce": ("script_src", [NONE, NONCE], "'none' stands alone"),
    "'strict-dynamic' alone": ("script_src", [STRICT_DYNAMIC], "put 'nonce' or a hash beside it"),
    "'strict-dynamic' with hosts only": ("script_src", [STRICT_DYNAMIC, SELF, "https:"], "put 'nonce' or a hash"),
    "'unsafe-inline' beside the nonce": ("style_src", [UNSAFE_INLINE, NONCE], "take one of the two away"),
    "the same for scripts": ("script_src", [SELF, UNSAFE_INLINE, NONCE], "take one of the two away"),
}


@pytest.mark.parametrize(("name", "sources", "told"), TOGETHER.values(), ids=TOGETHER)
def test_sources_that_make_no_sense_together_stop_the_start(name: str, sources: list[str], told: str) -> None:
    code, message = wrong(name, *sources)
    assert code == "csp-sources"
    assert told in message


SENSIBLE: dict[str, list[str]] = {
    "'strict-dynamic' beside the nonce": [NONCE, STRICT_DYNAMIC],
    "'strict-dynamic' beside a hash": [HASH, STRICT_DYNAMIC],
    "what old browsers need beside them": [NONCE, STRICT_DYNAMIC, UNSAFE_INLINE, HTTPS],
    "'unsafe-inline' beside a hash": [HASH, UNSAFE_INLINE],
    "'unsafe-inline' beside a hash and the nonce": [HASH, UNSAFE_INLINE, NONCE],
    "'unsafe-inline' beside hosts": [UNSAFE_INLINE, SELF],
}


@pytest.mark.parametrize("sources", SENSIBLE.values(), ids=SENSIBLE)
def test_sources_that_make_sense_together_stand(sources: list[str]) -> None:
    assert written("script_src", *sources) == " ".join(sources)


@pytest.mark.parametrize("name", ["script_src_attr", "style_src_attr"])
def test_a_hash_means_something_to_attributes_beside_its_word(name: str) -> None:
    assert written(name, UNSAFE_HASHES, HASH) == f"{UNSAFE_HASHES} {HASH}"


def test_a_source_that_stands_there_twice_is_sent_once() -> None:
    sources = [SELF, "'SELF'", "https://a.example", HASH, "https://a.example", HASH]
    assert written("script_src", *sources) == f"'self' https://a.example {HASH}"


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset, iter])
def test_a_list_may_be_any_collection(kind: Any) -> None:
    assert str(Directives.model_validate({"img_src": kind(["https:"])})) == "img-src https:"


# --- in variables ---

VARIABLES: dict[str, tuple[str, str]] = {
    "a switch": ("on", "csp-source"),
    "a yes": ("true", "csp-source"),
    "off among others": ("https:, off", "csp-source"),
    "an unquoted keyword": ("self", "csp-source"),
    "a fixed nonce": ("'nonce-abc'", "csp-source"),
    "'none' beside others": ("'none',https:", "csp-sources"),
    "a missing file": ("'hash:missing.js'", "csp-hash"),
    "an empty list": ("[]", "csp-sources"),
    "a second directive": ("https:; script-src *", "csp-source"),
}


@pytest.mark.parametrize(("value", "code"), VARIABLES.values(), ids=VARIABLES)
def test_a_mistake_in_a_variable_stops_the_start_and_names_it(value: str, code: str) -> None:
    found = problem({"SECGUARD_CSP__DIRECTIVES__SCRIPT_SRC": value})
    assert (found.code, found.where) == (code, "SECGUARD_CSP__DIRECTIVES__SCRIPT_SRC")


@pytest.mark.parametrize(
    "value", ["'self', https://a.example", "'self',https://a.example", '["\'self\'", "https://a.example"]']
)
def test_commas_or_json_separate_the_sources_of_a_variable(value: str) -> None:
    made = settings({"SECGUARD_CSP__DIRECTIVES__SCRIPT_SRC": value})
    assert made.csp is not None
    assert made.csp.directives.script_src == (SELF, "https://a.example")


def test_in_code_a_comma_separates_nothing_for_half_of_the_text_may_be_a_visitors() -> None:
    assert wrong("img_src", "https://a.example,*")[0] == "csp-source"
    with pytest.raises(ValidationError, match="has a blank"):
        Directives(img_src="https://a.example,*")
