"""Hashes: of texts and of files, right and malformed, made in code or named in a variable."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from secguard.csp import SELF, hash_file, hash_text
from tests.settings_helpers import settings
from tests.test_csp_sources import written, wrong

HASH = hash_text("alert('Hello, world.');")


def hashed(kind: str, content: bytes = b"x") -> str:
    return f"'{kind}-{base64.b64encode(hashlib.new(kind, content).digest()).decode()}'"


@pytest.mark.parametrize("kind", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("alphabet", ["+/", "-_"])
@pytest.mark.parametrize("name", ["script_src", "style_src", "default_src", "script_src_elem", "style_src_elem"])
def test_a_hash_is_of_one_of_three_kinds_in_either_alphabet(name: str, kind: str, alphabet: str) -> None:
    source = hashed(kind).translate(str.maketrans("+/", alphabet))
    assert written(name, source) == source


@pytest.mark.parametrize("kind", ["sha256", "sha384", "sha512"])
def test_an_algorithm_has_no_letter_case_and_is_sent_in_small_letters(kind: str) -> None:
    """CSP 3 section 6.7.3.3. The digest has one."""
    source = hashed(kind)
    assert written("script_src", source.replace("sha", "SHA"), source.replace("sha", "Sha")) == source


SHA256 = hashed("sha256").strip("'")
NO_HASHES: dict[str, tuple[str, str]] = {
    "without quotes": (SHA256, "in single quotes"),
    "without quotes, in capitals": (f"SHA{SHA256[3:]}", "in single quotes"),
    "with one quote": (f"'{SHA256}", "in single quotes"),
    "of a kind that is broken": (hashed("sha1"), "is no hash"),
    "of a kind that is unknown": (f"'sha3-{SHA256[7:]}'", "is no hash"),
    "of nothing": ("'sha256-'", "is no hash"),
    "with a blank in it": (f"'{SHA256[:20]} {SHA256[21:]}'", "is no hash"),
    "with ; behind it": (f"'{SHA256}'; script-src *", "is no hash"),
    "cut short": (f"'{SHA256[:-5]}='", "does not have the 32 bytes of its kind"),
    "not base64 at all": ("'sha256-abc'", "does not have the 32 bytes of its kind"),
    "of another kind's length": (f"'sha384-{SHA256[7:]}'", "does not have the 48 bytes of its kind"),
    "in hexadecimal": (f"'sha256-{hashlib.sha256(b'x').hexdigest()}'", "does not have the 32 bytes of its kind"),
}


@pytest.mark.parametrize(("source", "told"), NO_HASHES.values(), ids=NO_HASHES)
def test_a_malformed_hash_stops_the_start(source: str, told: str) -> None:
    code, message = wrong("script_src", source)
    assert code == "csp-source"
    assert told in message


@pytest.mark.parametrize("name", ["img_src", "frame_ancestors", "base_uri"])
def test_hashes_are_for_scripts_and_styles(name: str) -> None:
    assert wrong(name, HASH) == (
        "csp-source",
        f"{HASH} means nothing to this directive: hashes are for scripts and styles",
    )


def test_a_text_is_hashed_as_browsers_do() -> None:
    """The example of CSP 2 section 7.17.2."""
    assert HASH == "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"
    assert hash_text("grüße") == hashed("sha256", "grüße".encode())


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CR LF", "CR"])
def test_a_hash_is_of_what_browsers_see_whatever_the_line_ends(end: str, tmp_path: Path) -> None:
    """They make LF of every line end before they look (HTML section 13.2.3.5)."""
    script = tmp_path / "boot.js"
    script.write_bytes(f"one();{end}two();{end}".encode())
    assert hash_file(script) == hash_text(f"one();{end}two();{end}") == hashed("sha256", b"one();\ntwo();\n")


def test_a_file_that_is_not_utf_8_is_refused_for_its_hash_would_match_no_page(tmp_path: Path) -> None:
    script = tmp_path / "boot.js"
    script.write_bytes(b"alert('\xe9')")
    code, message = wrong("script_src", f"'hash:{script}'")
    assert code == "csp-hash"
    assert "UTF-8" in message
    with pytest.raises(ValueError, match="utf-8"):
        hash_file(script)


def test_a_file_is_hashed_in_code_and_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath("boot.js").write_text("alert('Hello, world.');")
    monkeypatch.chdir(tmp_path)
    assert hash_file("boot.js") == hash_file(tmp_path / "boot.js") == HASH
    assert written("script_src", "'hash:boot.js'", f"'hash:{tmp_path / 'boot.js'}'") == HASH


def test_a_file_may_have_any_name_and_stands_in_a_variable(tmp_path: Path) -> None:
    script = tmp_path / "my; 'own' boot.js"
    script.write_text("alert('Hello, world.');")
    made = settings({"SECGUARD_CSP__DIRECTIVES__SCRIPT_SRC": f"'self', 'hash:{script}'"})
    assert made.csp is not None
    assert made.csp.directives.script_src == (SELF, HASH)


NO_FILES: dict[str, tuple[str, str]] = {
    "missing": ("missing.js", "No such file or directory"),
    "a directory": (".", "Is a directory"),
    "below a file": ("boot.js/x", "Not a directory"),
    "with a name too long": ("x" * 5000, "File name too long"),
}


@pytest.mark.parametrize(("path", "why"), NO_FILES.values(), ids=NO_FILES)
def test_a_file_that_cannot_be_read_stops_the_start(
    path: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.joinpath("boot.js").touch()
    monkeypatch.chdir(tmp_path)
    code, message = wrong("script_src", f"'hash:{path}'")
    assert code == "csp-hash"
    assert f"({why})" in message
    assert "it is looked for from the working directory" in message
    with pytest.raises(OSError, match=why):
        hash_file(path)


@pytest.mark.parametrize("path", ["a\0b", "\ud800"], ids=["NUL", "half a character"])
def test_a_name_that_no_file_can_have_stops_the_start(path: str) -> None:
    assert wrong("script_src", f"'hash:{path}'")[0] == "csp-hash"


def test_where_hashes_mean_nothing_no_file_is_read(tmp_path: Path) -> None:
    code, message = wrong("img_src", f"'hash:{tmp_path / 'missing.js'}'")
    assert code == "csp-source"
    assert "for scripts and styles" in message
