"""Several processes with counts in memory of their own are found out, and told of."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from secguard.policy import Context
from secguard.rate_limit import RateLimitPolicy, RateLimitSettings
from secguard.rate_limit import workers as module
from secguard.rate_limit.workers import siblings, workers_wanted
from tests.helpers import EventLog


@pytest.mark.parametrize(
    ("variables", "arguments", "count"),
    [
        pytest.param({}, [], 1, id="nobody says anything"),
        pytest.param({"WEB_CONCURRENCY": "4"}, [], 4, id="what uvicorn and gunicorn read"),
        pytest.param({"UVICORN_WORKERS": "2"}, [], 2, id="uvicorn's own variable"),
        pytest.param({"GRANIAN_WORKERS": "3"}, [], 3, id="granian's own variable"),
        pytest.param({"WEB_CONCURRENCY": "auto"}, [], 1, id="no number"),
        pytest.param({"WEB_CONCURRENCY": "9" * 5000}, [], 1, id="no number that anybody means"),
        pytest.param({"WEB_CONCURRENCY": "²"}, [], 1, id="a digit that is none"),
        pytest.param({}, ["uvicorn", "app:app", "--workers", "4"], 4, id="option and number"),
        pytest.param({}, ["uvicorn", "--workers=4", "app:app"], 4, id="option with its number"),
        pytest.param({}, ["gunicorn", "-w", "4", "app:app"], 4, id="short option"),
        pytest.param({}, ["gunicorn", "-w4", "app:app"], 4, id="short option with its number"),
        pytest.param({}, ["gunicorn", "--workers"], 1, id="option that ends early"),
        pytest.param({}, ["uvicorn", "--workers", "1"], 1, id="one"),
        pytest.param({"WEB_CONCURRENCY": "1"}, ["granian", "--workers", "2"], 2, id="the larger number"),
    ],
)
def test_workers_are_counted_as_the_server_was_told(
    variables: dict[str, str], arguments: list[str], count: int
) -> None:
    assert workers_wanted(variables, arguments) == count


def policy(log: EventLog, **fields: object) -> RateLimitPolicy:
    return RateLimitPolicy(RateLimitSettings.model_validate(fields), Context(sinks=(log,)))


def test_several_workers_are_told_of_at_start_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    monkeypatch.setattr(module, "_PROC", Path("/nowhere"))
    log = EventLog()
    asyncio.run(policy(log, default="5/minute").open())
    assert log.told == [("noticed", "rate_limit.workers")]
    assert dict(log.last.detail) == {"workers": 4}
    assert "SECGUARD_RATE_LIMIT__STORAGE" in log.last.reason


def test_nobody_is_told_where_counts_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    log = EventLog()
    policy(log, default="5/minute", storage="redis://127.0.0.1:1")
    assert log.told == []


def process(proc: Path, number: int, parent: int, program: bytes, name: str = "python") -> None:
    folder = proc / str(number)
    folder.mkdir()
    (folder / "stat").write_text(f"{number} ({name}) S {parent} 1 1 0")
    (folder / "cmdline").write_bytes(program)


SPAWNED = b"python\0-c\0from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=%d, pipe_handle=%d)\0"


def test_processes_of_one_parent_that_run_the_same_are_siblings(tmp_path: Path) -> None:
    own, parent = os.getpid(), os.getppid()
    process(tmp_path, own, parent, SPAWNED % (5, 7))
    process(tmp_path, own + 1, parent, SPAWNED % (5, 19), name="a) S 1 (b")
    process(tmp_path, own + 2, parent, b"python\0-c\0from multiprocessing.resource_tracker import main\0")
    process(tmp_path, own + 3, parent + 10**6, SPAWNED % (5, 8))
    (tmp_path / "version").write_text("not a process")
    (tmp_path / "self").symlink_to(tmp_path / str(own))
    process(tmp_path, own + 4, parent, b"")
    (tmp_path / str(own + 4) / "cmdline").unlink()
    (tmp_path / str(own + 5)).mkdir()
    (tmp_path / str(own + 5) / "stat").write_text("5 (x)")
    assert siblings(tmp_path) == 2


def test_who_cannot_see_others_is_alone(tmp_path: Path) -> None:
    assert siblings(tmp_path / "nowhere") == 1
    assert siblings(tmp_path) == 1


_LOOK = """
import sys, time
from secguard.rate_limit.workers import siblings
sys.stdin.readline()
print(siblings(), flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no /proc")
def test_real_siblings_see_each_other() -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", _LOOK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        for child in started:
            assert child.stdin
            child.stdin.write("go\n")
            child.stdin.flush()
        assert [child.stdout and child.stdout.readline().strip() for child in started] == ["2", "2"]
    finally:
        for child in started:
            child.communicate("end\n", timeout=10)


def test_siblings_are_told_of_when_the_server_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process(tmp_path, os.getpid(), os.getppid(), b"python\0app.py\0")
    process(tmp_path, os.getpid() + 1, os.getppid(), b"python\0app.py\0")
    monkeypatch.setattr(module, "_PROC", tmp_path)
    log = EventLog()
    limits = policy(log, default="5/minute")
    assert log.told == []
    asyncio.run(limits.open())
    asyncio.run(limits.open())
    assert log.told == [("noticed", "rate_limit.workers")]
