"""Hashes: sources that allow a script or a style by its content (CSP 3 section 2.3.1)."""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import sha256
from pathlib import Path
from typing import Final

_HASH: Final = re.compile(r"'sha(256|384|512)-([A-Za-z0-9+/_\-]+={0,2})'")
_ALGORITHMS: Final = frozenset({"'sha256", "'sha384", "'sha512"})


def hash_text(text: str) -> str:
    """Return the source that allows the inline script or style whose content is `text` (CSP 3 section 2.3.1).

    Line ends count as LF, which is what browsers make of them before they look (HTML section 13.2.3.5).

    Example:
        >>> hash_text("alert('Hello, world.');")
        "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"
    """
    digest = sha256(text.replace("\r\n", "\n").replace("\r", "\n").encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def hash_file(path: str | Path) -> str:
    """Return the source that allows an inline script or style with the content of a UTF-8 file; read at once.

    In settings, `'hash:static/boot.js'` does the same: it is read at start, from the working directory.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not UTF-8, or its path has a NUL in it.

    Example:
        >>> hash_file("static/boot.js")
        "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"
    """
    return hash_text(Path(path).read_bytes().decode())


def is_hash(source: str) -> bool:
    """Whether a source is a hash."""
    return _HASH.fullmatch(source) is not None


def in_small_letters(source: str) -> str:
    """Return a source with its algorithm, where it has one, in small letters: it has no letter case."""
    algorithm, dash, digest = source.partition("-")
    return algorithm.lower() + dash + digest if algorithm.lower() in _ALGORITHMS else source


def problem_of_hash(source: str) -> str | None:
    """Say what is wrong with what should be a hash, and what to write."""
    read = _HASH.fullmatch(source)
    if read is None:
        return f"{source} is no hash: write one like 'sha256-…=', in single quotes, or let hash_text() make it"
    try:
        length = len(base64.b64decode(read[2].replace("-", "+").replace("_", "/")))
    except binascii.Error:
        length = 0
    if length * 8 != int(read[1]):
        return f"{source} does not have the {int(read[1]) // 8} bytes of its kind: let hash_text() make it"
    return None
