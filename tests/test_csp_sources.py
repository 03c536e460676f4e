"""Sources: each kind right and wrong, and each keyword in each kind of directive."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from secguard.csp import (
    BLOB,
    DATA,
    HTTPS,
    NONCE,
    NONE,
    REPORT_SAMPLE,
    SELF,
    STRICT_DYNAMIC,
    UNSAFE_EVAL,
    UNSAFE_HASHES,
    UNSAFE_INLINE,
    WASM_UNSAFE_EVAL,
    WSS,
    Directives,
    hash_text,
)
from tests.settings_helpers import problem

HASH = hash_text("alert('Hello, world.');")


def written(name: str, *sources: str) -> str:
    """The sources of a directive as they are sent."""
    return str(Directives.model_validate({name: sources})).partition(" ")[2]


def wrong(name: str, *sources: Any) -> tuple[str, str]:
    """Code and message of the only thing that is wrong."""
    with pytest.raises(ValidationError) as caught:
        Directives.model_validate({name: sources})
    (told,) = caught.value.errors()
    assert told["loc"] == (name,), "the error names the directive"
    return told["type"], told["msg"]


# --- one source ---

RIGHT = [
    "https:", "data:", "blob:", "wss:", "mediastream:", "filesystem:", "HTTPS:", "web+app:", "x-1:",
    "example.com", "EXAMPLE.com", "localhost", "192.0.2.7", "xn--bcher-kva.example", "example.com.", "a-b.example", "7",
    "*", "*.example.com", "https://*", "https://*.example.com", "*:8443", "https://*:*", "*.example.com:*",
    "https://example.com", "wss://example.com", "http://localhost:8000", "example.com:443", "example.com:*",
    "example.com/", "example.com/app.js", "https://cdn.example.com/a/b.js", "https://cdn.example.com/a/", "*/app.js",
    "https://example.com/a%3Bb%2Cc%20d", "example.com/~a/b!c$d&e(f)*g+h=i:j@k", "example.com/a//b", "example.com:80/a",
    "nonce-cdn.example.com", "https://nonce-cdn", "sha256-tool.example.com", "sha-la.example.com", "self.example.com",
    "on.example.com", "https://on", "no:8080", "example.com:65535", "https://example.com/'nonce'",
]  # fmt: skip


@pytest.mark.parametrize("source", RIGHT)
def test_a_source_that_is_right_is_sent_as_it_was_written(source: str) -> None:
    assert written("img_src", source) == source


NO_SOURCE = "is no source"
SEPARATED = "has a blank, ; or , in it"
IPV6 = "is an IPv6 address, for which CSP has no word: write a name that leads there"
QUOTED = "is no keyword: only keywords, nonces and hashes stand in quotes"
ALL = "would be a host of that name: write * for any host"
NOTHING = "would be a host of that name: write 'none' to allow nothing"
WRONG: dict[str, tuple[str, str]] = {
    "nothing": ("", NO_SOURCE),
    "only a slash": ("/", NO_SOURCE),
    "a path without host": ("/static/app.js", NO_SOURCE),
    "an address without scheme": ("//cdn.example.com", NO_SOURCE),
    "a scheme without colon": ("https", "would be a host of that name: write https:"),
    "another one": ("data", "would be a host of that name: write data:"),
    "a scheme in capitals without colon": ("BLOB", "would be a host of that name: write blob:"),
    "a switch that is on": ("on", ALL),
    "a yes": ("yes", ALL),
    "a yes of JSON's": ("true", ALL),
    "all": ("all", ALL),
    "any, in capitals": ("ANY", ALL),
    "a switch that is off": ("off", NOTHING),
    "a no": ("no", NOTHING),
    "a no of Python's": ("False", NOTHING),
    "a scheme with half an address": ("https://", NO_SOURCE),
    "two schemes": ("https://https://example.com", NO_SOURCE),
    "a scheme that begins with a digit": ("1https:", NO_SOURCE),
    "a star in the midst": ("cdn.*.example.com", NO_SOURCE),
    "a star at the end": ("example.*", NO_SOURCE),
    "a star inside a label": ("*cdn.example.com", NO_SOURCE),
    "two stars": ("*.*.example.com", NO_SOURCE),
    "a star and a dot": ("*.", NO_SOURCE),
    "a star for a scheme": ("*://example.com", NO_SOURCE),
    "an empty label": ("cdn..example.com", NO_SOURCE),
    "a dot in front": (".example.com", NO_SOURCE),
    "an underscore": ("my_cdn.example.com", NO_SOURCE),
    "a user": ("https://user@example.com", NO_SOURCE),
    "a user and a password": ("https://user:secret@example.com", NO_SOURCE),
    "a query": ("https://example.com/a?b=c", NO_SOURCE),
    "a fragment": ("https://example.com/#a", NO_SOURCE),
    "a backslash": ("https://example.com\\evil", NO_SOURCE),
    "a port that is none": ("example.com:http", NO_SOURCE),
    "a port without digits": ("https://example.com:", NO_SOURCE),
    "a port of six digits": ("example.com:123456", NO_SOURCE),
    "a port that is too high": ("example.com:65536", NO_SOURCE),
    "a host with a colon too many": ("example.com:", NO_SOURCE),
    "an address of IPv6": ("https://[2001:db8::1]", IPV6),
    "an address of IPv6 with port and path": ("wss://[2001:DB8::1]:8443/socket", IPV6),
    "an address of IPv6 without scheme": ("[::1]:8000", IPV6),
    "an address of IPv6 without brackets": ("2001:db8::1", IPV6),
    "an address of IPv6 that was cut short": ("https://[2001:db8::1", NO_SOURCE),
    "a path of two slashes": ("example.com//a", NO_SOURCE),
    "half a percent-encoding": ("example.com/%2", NO_SOURCE),
    "a name that is not ASCII": ("bücher.example", "a name that is not ASCII as xn--"),
    "a path that is not ASCII": ("example.com/bücher", NO_SOURCE),
    "digits that are not ASCII": ("example.com:\uff18\uff10", NO_SOURCE),
    "a dot that is not ASCII": ("example\u3002com", NO_SOURCE),
    "a blank of no width": ("example.com\u200b", NO_SOURCE),
    "half a character": ("example.com/\ud800", NO_SOURCE),
    "NUL": ("example.com\0", NO_SOURCE),
    "DEL": ("example.com/\x7f", NO_SOURCE),
    "two sources in one text": ("'self' https://cdn.example.com", SEPARATED),
    "two sources with a comma": ("https://a.example,https://b.example", SEPARATED),
    "a second directive": ("https://a.example; script-src *", SEPARATED),
    "a second directive without blanks": ("https://a.example;sandbox", SEPARATED),
    "a second policy": ("example.com,", SEPARATED),
    "a blank in front": (" example.com", SEPARATED),
    "a blank behind": ("example.com ", SEPARATED),
    "a tab": ("example.com\t'unsafe-inline'", SEPARATED),
    "CR": ("example.com\r", SEPARATED),
    "LF": ("example.com\n", SEPARATED),
    "a second header": ("example.com\r\nSet-Cookie: a=b", SEPARATED),
    "a form feed": ("example.com\f*", SEPARATED),
    "a blank that is not ASCII": ("example.com\xa0*", SEPARATED),
    "a line separator": ("example.com\u2028*", SEPARATED),
    "; in a path": ("example.com/a;b", SEPARATED),
    "an unknown keyword": ("'unsafe-everything'", QUOTED),
    "a keyword of another place": ("'script'", QUOTED),
    "a quoted host": ("'example.com'", QUOTED),
    "a host in double quotes": ('"example.com"', QUOTED),
    "an empty keyword": ("''", QUOTED),
    "one quote": ("'", QUOTED),
    "a host with a quote in front": ("'example.com", QUOTED),
    "a fixed nonce": ("'nonce-c2VjcmV0'", "the same for every response, so that an attacker knows it: write 'nonce'"),
    "a fixed nonce in capitals": ("'NONCE-c2VjcmV0'", "write 'nonce'"),
    "an empty nonce": ("'nonce-'", "write 'nonce'"),
    "the nonce that was None": ("'nonce-None'", "write 'nonce'"),
    "a fixed nonce, unquoted": ("nonce-c2VjcmV0", "write 'nonce'"),
    "a nonce and a second header": ("'nonce-a'\r\nSet-Cookie: a=b", "write 'nonce'"),
    "a keyword that clears the terminal": ("'\x1b[2J'", QUOTED),
    "half a character in quotes": ("'\ud800'", QUOTED),
    "a nonce that is no text": ("'nonce-\udcff'", "write 'nonce'"),
    "a nonce that ends the directive": ("'nonce-a'; script-src *", "write 'nonce'"),
}


@pytest.mark.parametrize("name", ["img_src", "script_src", "style_src_attr"])
@pytest.mark.parametrize(("source", "told"), WRONG.values(), ids=WRONG)
def test_a_source_that_is_wrong_stops_the_start_and_is_told_what_to_write(source: str, told: str, name: str) -> None:
    code, message = wrong(name, source)
    assert code == "csp-source"
    assert told in message


@pytest.mark.parametrize("source", [row[0] for row in WRONG.values()], ids=WRONG)
def test_what_is_wrong_is_told_on_one_line_that_forges_no_log(source: str) -> None:
    found = problem(csp={"directives": {"img_src": [source]}})
    assert found.code == "csp-source"
    assert f"{found.where}{found.value}{found.message}".isprintable()


def test_all_that_is_wrong_with_a_list_is_told_at_once() -> None:
    _, message = wrong("img_src", "self", "https://a.example", "a b", "data")
    assert message.count(": write") == 2
    assert SEPARATED in message


@pytest.mark.parametrize("value", [7, 7.5, True, b"'self'", {"'self'": 1}, [None], [["'self'"]]])
def test_what_is_no_text_is_no_source(value: object) -> None:
    with pytest.raises(ValidationError):
        Directives.model_validate({"img_src": value})


# --- keywords ---

PLAIN = {SELF, NONE}
ATTRIBUTE = {NONE, UNSAFE_INLINE, UNSAFE_HASHES, REPORT_SAMPLE}
STYLE = PLAIN | ATTRIBUTE | {NONCE}
DEFAULT = STYLE | {
    UNSAFE_EVAL, WASM_UNSAFE_EVAL, "'inline-speculation-rules'", "'trusted-types-eval'",
    "'report-sha256'", "'report-sha384'", "'report-sha512'",
}  # fmt: skip
SCRIPT = DEFAULT | {STRICT_DYNAMIC}
KINDS: dict[str, set[str]] = {
    "default_src": DEFAULT,
    **dict.fromkeys(["script_src", "script_src_elem"], SCRIPT),
    **dict.fromkeys(["style_src", "style_src_elem"], STYLE),
    **dict.fromkeys(["script_src_attr", "style_src_attr"], ATTRIBUTE),
    **dict.fromkeys(
        "img_src media_src font_src connect_src frame_src fenced_frame_src child_src worker_src manifest_src "
        "object_src base_uri form_action frame_ancestors".split(),
        PLAIN,
    ),
}


@pytest.mark.parametrize("keyword", sorted(SCRIPT))
@pytest.mark.parametrize("name", KINDS)
def test_a_keyword_stands_where_it_means_something_and_nowhere_else(name: str, keyword: str) -> None:
    beside = [HASH] if keyword == STRICT_DYNAMIC else []
    if keyword in KINDS[name]:
        assert written(name, keyword, *beside) == " ".join([keyword, *beside])
    else:
        code, message = wrong(name, keyword)
        assert code == "csp-source"
        told = "is for scripts alone: write it in script_src" if keyword == STRICT_DYNAMIC else "means nothing to this"
        assert f"{keyword} {told}" in message


@pytest.mark.parametrize("keyword", sorted(SCRIPT))
def test_a_keyword_has_no_letter_case_and_is_sent_in_small_letters(keyword: str) -> None:
    assert written("script_src", keyword.upper(), *[HASH] * (keyword == STRICT_DYNAMIC)).startswith(keyword)


@pytest.mark.parametrize("quoted", ["{}", '"{}"', "'{}", "{}'", "''{}''", "'\"{}\"'"])
@pytest.mark.parametrize("keyword", sorted(SCRIPT))
def test_a_keyword_without_its_quotes_is_told_to_take_them(keyword: str, quoted: str) -> None:
    """PITFALLS: unquoted, it is a host, and the policy is another than the one that was meant."""
    bare = keyword.strip("'")
    for word in (bare, bare.upper()):
        code, message = wrong("script_src", quoted.format(word))
        assert code == "csp-source"
        assert f"write {keyword}, in single quotes" in message


def test_the_sentinels_are_sources() -> None:
    assert written("img_src", SELF, DATA, BLOB, HTTPS, WSS) == "'self' data: blob: https: wss:"


@pytest.mark.parametrize("source", ["https://cdn.example.com", "data:", "*", "localhost"])
@pytest.mark.parametrize("name", ["script_src_attr", "style_src_attr"])
def test_no_place_means_anything_to_attributes_which_load_nothing(name: str, source: str) -> None:
    """CSP 3 section 6.7.3.3."""
    code, message = wrong(name, source)
    assert code == "csp-source"
    assert f"{source} means nothing to this directive" in message
    assert "Write 'unsafe-hashes', and hashes" in message
