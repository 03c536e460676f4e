"""The URL of a store: which one it is, and what is wrong with it, at start and without connecting."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from pydantic_core import PydanticCustomError

from secguard.store.backend import Backend
from secguard.store.quota import Strategy
from secguard.store.redis import RedisCounts
from secguard.store.wire import SCHEMES, pool_of

MEMORY: Final = "memory://"

_MISSING: Final = "redis-py is missing: write pip install 'secguard-asgi[redis]'"
_USERINFO: Final = re.compile(r"(?<=://).*@")
_SECRET: Final = re.compile(r"(?<=pass)(\w*)=[^&]*")


def backend_of(url: str, hash_key: bytes, timeout: float) -> Backend:
    """Return what counts in the store of a URL, unconnected."""
    if _scheme(url) in SCHEMES:
        return RedisCounts(url, hash_key, timeout)
    from secguard.store.limits import LimitsCounts  # noqa: PLC0415 - imports what few need

    return LimitsCounts(url, hash_key, timeout)


def check_storage(url: str, strategies: Iterable[Strategy] = ()) -> None:
    """Raise the start-up error that says what is wrong with the URL of a store, if anything is.

    `strategies` are those that quotas use: not every storage has all. No password stands in the message.
    """
    problem = "" if url == MEMORY else _problem(url, strategies)
    if problem:
        value = _SECRET.sub(r"\1=***", _USERINFO.sub("***@", url))
        raise PydanticCustomError("rate-limit-storage", "{value}: {problem}", {"value": value, "problem": problem})


def _scheme(url: str) -> str:
    return url.partition("://")[0]


def _problem(url: str, strategies: Iterable[Strategy]) -> str:
    scheme = _scheme(url)
    if "://" not in url:
        return "it is no URL: write one like redis://localhost:6379/0, valkey://localhost:6379 or memory://"
    if scheme == "memory":
        return f"nothing follows in the memory of a process: write {MEMORY}"
    return _redis_problem(url, scheme) if scheme in SCHEMES else _limits_problem(url, scheme, strategies)


def _redis_problem(url: str, scheme: str) -> str:
    if find_spec("redis") is None:
        return _MISSING
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return f"its host or port is malformed: write {scheme}://host:port"
    if scheme.endswith("+unix"):
        if not parts.path.strip("/"):
            return f"it names no socket: write {scheme}:///path/of/the/socket"
    elif not parts.hostname:
        return f"it names no host: write {scheme}://host"
    elif not re.fullmatch(r"(/[0-9]*)?", parts.path):
        return "what follows the host is the number of a database: write a number, or nothing"
    try:
        pool = pool_of(url)
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError) as error:
        return f"redis-py does not take it ({_told(error)}): write options that it knows, or none"
    return ""


def _limits_problem(url: str, scheme: str, strategies: Iterable[Strategy]) -> str:
    from limits.errors import ConfigurationError  # noqa: PLC0415 - imports what few need

    from secguard.store.limits import limiter_of, storage_of  # noqa: PLC0415 - imports what few need

    if scheme.startswith("redis") and find_spec("redis") is None:
        return _MISSING
    try:
        storage = storage_of(url)
    except ConfigurationError as error:
        if str(error).startswith("unknown storage scheme"):
            ours = ", ".join(f"{name}://" for name in ("memory", *SCHEMES))
            return f"there is no such storage: write one of {ours}, or a scheme of limits"
        return f"limits does not take it ({_told(error)}): write it as limits has it, and install what it needs"
    except Exception as error:  # each storage reads its URL in a way of its own
        return f"limits does not take it ({type(error).__name__}): write it as limits has it"
    for strategy in strategies:
        try:
            limiter_of(strategy, storage)
        except NotImplementedError:
            return f"it cannot count in a {strategy}: write another strategy, or another storage"
    return ""


def _told(error: Exception) -> str:
    text = str(error)
    return text[:1].lower() + text[1:].rstrip(".")
