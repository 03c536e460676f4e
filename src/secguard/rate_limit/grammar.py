"""What the fields of `rate_limit` are written like: limits, keys, statuses.

1. A limit is written as `limits` reads it: `100/minute`, `5 per 10 seconds`; several with `;` between them.
2. A key is `ip`, `user`, `session`, `global` or `header:NAME`; in code also a function of the Exchange.
3. A status is `401`, or `4xx` for all of its class (RFC 9110 section 15).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, Final, TypeAlias

import limits
from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from secguard._http import is_field_name
from secguard.policy import Address, Exchange
from secguard.policy.section import Several, split_commas
from secguard.store.quota import MOST

_SEPARATORS: Final = re.compile("[,;|]")  # as in `limits`
_STATUS: Final = re.compile("[1-5](?:[0-9]{2}|xx)", re.IGNORECASE)
_HEADER: Final = "header:"
_KEYS: Final = ("ip", "user", "session", "global")
_LONGEST: Final = 366 * 86400  # seconds of a window

KeyFunction: TypeAlias = Callable[[Exchange], Any]
CostFunction: TypeAlias = Callable[[Exchange], int | Awaitable[int]]
Keyed: TypeAlias = str | bytes | int | Address | None
"""What a function for keys returns, or awaits. An address is taken as `ip` takes it, and None is the client's own."""


def read_limit(text: str) -> tuple[int, int]:
    """Return the amount and the seconds of a limit.

    Raises:
        PydanticCustomError: the text is none, or one that no quota can keep.
    """
    problem = ""
    try:
        item = limits.parse(text)
    except ValueError:
        problem = "is no limit"
    else:
        if not 0 < item.amount <= MOST:
            problem = f"lets in nobody: {text.strip()[:1]}" if item.amount == 0 else "is more than can be counted"
        elif not 0 < item.get_expiry() <= _LONGEST:
            problem = "has a window of more than a year, or of none"
        else:
            return item.amount, item.get_expiry()
    raise PydanticCustomError(
        "rate-limit-string",
        '{text} {problem}: write 100/minute or 5 per 10 seconds, and several as "10/second; 1000/hour"',
        {"text": repr(text[:60]), "problem": problem},
    )


def split_limits(value: object) -> object:
    """Take texts apart where a limit ends."""
    texts = split_commas(value)
    if not isinstance(texts, list | tuple):
        return texts
    parts = [_SEPARATORS.split(text) if isinstance(text, str) else [text] for text in texts]
    return [part.strip() if isinstance(part, str) else part for some in parts for part in some]


def _check_limit(text: str) -> str:
    read_limit(text)
    return text


def _check_windows(texts: tuple[str, ...]) -> tuple[str, ...]:
    windows = [read_limit(text)[1] for text in texts]
    for text, window in zip(texts, windows, strict=True):
        if windows.count(window) > 1:
            raise PydanticCustomError(
                "rate-limit-window",
                "{text} stands beside another limit of {window} seconds: the smaller one holds, so keep that",
                {"text": text, "window": window},
            )
    return texts


def _check_key(key: object) -> object:
    if callable(key) or key in _KEYS:
        return key
    name = str(key)
    if name.lower().startswith(_HEADER) and is_field_name(name[len(_HEADER) :].encode("utf-8", "replace")):
        return name.lower()
    raise PydanticCustomError(
        "rate-limit-key",
        "{key} is nothing to count by: write {known} or header:NAME, such as header:X-API-Key",
        {"key": repr(name[:60]), "known": ", ".join(_KEYS)},
    )


def header_of(key: str) -> bytes:
    """Return the name of the header that a key names, or b"" for another key."""
    return key[len(_HEADER) :].encode() if key.startswith(_HEADER) else b""


def _check_status(status: object) -> str:
    text = str(status).lower()
    if not _STATUS.fullmatch(text):
        raise PydanticCustomError(
            "rate-limit-status", "{status} is no status: write 401, or 4xx for all of them", {"status": repr(text[:60])}
        )
    return text


def read_statuses(texts: Iterable[str | int]) -> frozenset[int]:
    """Return all statuses that are named."""
    return frozenset(
        status
        for text in map(str, texts)
        for status in (range(int(text[0]) * 100, int(text[0]) * 100 + 100) if text[1:] == "xx" else (int(text),))
    )


def _check_method(method: str) -> str:
    if not is_field_name(method.encode("utf-8", "replace")):  # RFC 9110 section 9.1: a method is a token, too
        raise PydanticCustomError(
            "rate-limit-method", "{method} is no method: write it like POST", {"method": repr(method[:60])}
        )
    return method.upper()


_AS_NAME: Final = PlainSerializer(lambda held: held if isinstance(held, str | int) else repr(held), when_used="json")

Limits = Annotated[
    Several[Annotated[str, AfterValidator(_check_limit)]], BeforeValidator(split_limits), AfterValidator(_check_windows)
]
Key = Annotated[str | KeyFunction, BeforeValidator(_check_key), _AS_NAME]
Cost = Annotated[Annotated[int, Field(ge=0, le=MOST)] | CostFunction, _AS_NAME]
Status = Annotated[str | int, BeforeValidator(_check_status)]
Method = Annotated[str, AfterValidator(_check_method)]
