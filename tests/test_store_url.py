"""The URL of a store: what passes, and what each mistake is told to write."""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from secguard.store.limits import LimitsCounts
from secguard.store.redis import RedisCounts
from secguard.store.shared import check_storage
from secguard.store.url import backend_of
from secguard.store.wire import SCHEMES


def told(url: str, *strategies: Any) -> str:
    with pytest.raises(PydanticCustomError) as caught:
        check_storage(url, strategies)
    assert caught.value.type == "rate-limit-storage"
    return caught.value.message()


@pytest.mark.parametrize(
    "url",
    [
        "memory://",
        "redis://localhost",
        "redis://localhost:6379/0",
        "redis://user:p%40ss@localhost:6379/15?health_check_interval=30",
        "rediss://[::1]:6380/",
        "redis+unix:///run/redis.sock?db=1",
        "valkey://localhost",
        "valkeys://localhost",
        "valkey+unix:///run/valkey.sock",
        "redis+cluster://localhost:7000,localhost:7001",
        "redis+sentinel://localhost:26379/main",
        "valkey+cluster://localhost:7000",
    ],
)
def test_passes(url: str) -> None:
    check_storage(url, ["fixed-window", "sliding-window", "moving-window"])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "it is no URL: write one like redis://"),
        ("redis", "it is no URL: write one like redis://"),
        ("localhost:6379", "it is no URL: write one like redis://"),
        ("memory://localhost", "write memory://"),
        ("redis://", "it names no host: write redis://host"),
        ("redis:///0", "it names no host: write redis://host"),
        ("redis+unix://", "it names no socket: write redis+unix:///path/of/the/socket"),
        ("redis://localhost:port", "write redis://host:port"),
        ("redis://localhost:99999", "its host or port is malformed: write redis://host:port"),
        ("redis://[::1", "write redis://host:port"),
        ("redis://localhost/main", "what follows the host is the number of a database"),
        ("redis://localhost?nonsense=1", "redis-py does not take it"),
        ("redis://localhost?db=main", "redis-py does not take it (invalid value for 'db' in connection URL)"),
        ("mysql://localhost", "there is no such storage: write one of memory://, redis://"),
        ("redis+sentinel://localhost:26379", "'service_name' not provided"),
        ("redis+cluster://localhost", "limits does not take it"),
        ("redis+cluster://localhost:port", "limits does not take it"),
    ],
)
def test_mistakes_are_told(url: str, message: str) -> None:
    assert message in told(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hunter2@localhost/main",
        "redis://:hun@ter2:hunter2@localhost/main",
        "redis://:hunter2/@localhost",
        "redis://localhost/main?password=hunter2",
        "redis://localhost/main?ssl_password=hunter2&db=0",
        "mysql://user:hunter2@localhost",
    ],
)
def test_passwords_are_not_told(url: str) -> None:
    assert "hunter2" not in told(url)
    assert "***" in told(url)


def test_missing_packages_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def missing(name: str) -> Any:
        return None if name == "redis" else find(name)

    monkeypatch.setattr("secguard.store.url.find_spec", missing)
    for scheme in ("redis", "valkeys", "redis+cluster"):
        assert "pip install 'secguard-asgi[redis]'" in told(f"{scheme}://localhost:1")


def test_missing_packages_of_limits_are_told() -> None:
    assert "emcache" in told("memcached://localhost:11211")


def test_strategies_that_a_storage_lacks_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from limits.aio.storage import MemcachedStorage

    monkeypatch.setattr("secguard.store.limits.storage_of", lambda _: MemcachedStorage.__new__(MemcachedStorage))
    assert "it cannot count in a moving-window" in told("memcached://localhost:11211", "fixed-window", "moving-window")
    check_storage("memcached://localhost:11211", ["fixed-window"])


def test_each_scheme_has_its_backend() -> None:
    assert {type(backend_of(f"{scheme}://localhost", b"", 1)) for scheme in SCHEMES} == {RedisCounts}
    assert isinstance(backend_of("redis+cluster://localhost:7000", b"", 1), LimitsCounts)


@given(st.one_of(st.text(), st.text().map("redis://".__add__), st.text().map("redis+cluster://".__add__)))
def test_no_url_fails_otherwise(url: str) -> None:
    with suppress(PydanticCustomError):
        check_storage(url)
