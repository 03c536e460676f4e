"""What X-Forwarded-For and Forwarded are made of, read from the right and in linear time.

The right end is what our own proxies wrote; what stands to its left may be anything. Read from the left, one open quote
in a stranger's part would swallow theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from secguard.policy import Address, parse_address

Node: TypeAlias = tuple[Address, str]

_PORT: Final = re.compile(r"[0-9]{1,5}|_[A-Za-z0-9._\-]+")  # RFC 7239 section 6: port = 1*5DIGIT / obfport


def read_node(text: str) -> Node | None:
    """Read `ip`, `ip:port`, `[v6]` or `[v6]:port` into the address and the port, which is empty where there is none.

    A v6 address may have a zone id, which is dropped. Anything else is None.

    Example:
        >>> read_node("[fe80::1%eth0]:4711")
        (IPv6Address('fe80::1'), '4711')
    """
    port = None
    bracketed = text.startswith("[")
    if bracketed:
        text, closing, rest = text[1:].partition("]")
        if not closing or rest[:1] not in {"", ":"}:
            return None
        port = rest[1:] if rest else None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
    address = parse_address(text)
    head, zoned, _ = text.partition("%")
    if address is None or ((bracketed or zoned) and ":" not in head):
        return None
    if port is not None and not _PORT.fullmatch(port):
        return None
    return address, port or ""


def last_items(value: str) -> Iterator[str]:
    """Yield the items of a comma-separated list, the last one first, as far as they are asked for.

    Example:
        >>> list(last_items("a, b,c"))
        ['c', 'b', 'a']
    """
    end = len(value)
    while end >= 0:
        start = value.rfind(",", 0, end)
        yield value[start + 1 : end].strip(" \t")
        end = start


# In a text that is turned round, a quote is followed by the backslashes that stood before it.
_MARK: Final = re.compile(r'"(\\*)|,')


def last_elements(value: str) -> Iterator[str | None]:
    r"""Yield the elements of a Forwarded field (RFC 7239 section 4), the last one first, as far as they are asked for.

    Commas in quoted strings part nothing. None stands for all the rest, where a quoted string has no beginning.

    Example:
        >>> list(last_elements('for=10.0.0.1;by="a,b", for=_x'))
        ['for=_x', 'for=10.0.0.1;by="a,b"']
    """
    turned = value[::-1]
    start = 0
    quoted = False
    for mark in _MARK.finditer(turned):
        if mark[0] != ",":
            # A string ends at the first quote that is met; it begins at a quote that no backslash escapes.
            quoted = not quoted or len(mark[1]) % 2 == 1
        elif not quoted:
            yield turned[start : mark.start()][::-1].strip(" \t")
            start = mark.end()
    yield None if quoted else turned[start:][::-1].strip(" \t")


# RFC 7239 section 4: forwarded-pair = token "=" ( token / quoted-string ). Blanks around ";" are common and harmless,
# and so are addresses that should have been quoted.
_PAIR: Final = re.compile(
    r"[ \t]*(?:(?P<name>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)="
    r'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s;,"]+))[ \t]*)?(?:;|\Z)',
    re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


def read_element(text: str | None) -> Mapping[str, str]:
    """Read one element of a Forwarded field into its parameters, by lower-case name; empty where it is malformed.

    Example:
        >>> read_element('For="[2001:db8::1]:4711";proto=https')
        {'for': '[2001:db8::1]:4711', 'proto': 'https'}
    """
    pairs: dict[str, str] = {}
    at = 0
    while text and at < len(text):
        pair = _PAIR.match(text, at)
        if pair is None:
            return {}
        at = pair.end()
        if name := pair["name"]:
            if name.lower() in pairs:
                return {}  # each parameter at most once in an element: RFC 7239 section 4
            pairs[name.lower()] = _ESCAPE.sub(r"\1", pair["quoted"]) if pair["bare"] is None else pair["bare"]
    return pairs
