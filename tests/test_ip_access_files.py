"""Files of networks: read at start, read again when they change, and never half."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secguard._networks import Networks
from secguard.ip_access import IPAccessPolicy, IPAccessSettings, NetworkFile
from secguard.ip_access.lists import Stamp, stamp_of
from secguard.policy import Context, Reply
from tests.helpers import Clock, EventLog, exchange

ONE, TWO = "203.0.113.9", "198.51.100.7"


class Site:
    """A policy that denies what a file says, its clock, and what it told."""

    def __init__(self, path: Path, **fields: Any) -> None:
        self.path = path
        self.clock = Clock(path.stat().st_mtime + 3600)
        self.log = EventLog()
        section = IPAccessSettings.model_validate({"deny_files": [path], **fields})
        self.policy = IPAccessPolicy(section, Context(clock=self.clock, sinks=(self.log,)))

    def later(self, seconds: float = 1) -> bool:
        """Let time pass, and make the one request that finds out what has changed; what it has read, is read then.

        Return whether that request itself was still denied.
        """
        self.clock.move(seconds)
        denied = self.refuses(ONE)
        if self.policy.watch.reading:
            self.policy.watch.reading.join()
        return denied

    def denied(self) -> list[str]:
        """Whom the file denies by now."""
        return [client for client in (ONE, TWO) if self.refuses(client)]

    def refuses(self, client: str) -> bool:
        return isinstance(self.policy.admit(exchange(client=(client, 1))), Reply)

    def told(self) -> list[str]:
        codes, self.log.events = self.log.codes, []
        return codes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "bans.txt"
    path.write_text(f"# bans\n{ONE}\n")
    return path


@pytest.fixture
def site(path: Path) -> Site:
    return Site(path)


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    open_before = _open_files()
    yield
    for thread in threading.enumerate():
        if thread.name == "secguard-ip-access":
            thread.join(10)
    assert not [thread for thread in threading.enumerate() if thread.name == "secguard-ip-access"]
    assert _open_files() == open_before


def _open_files() -> set[str]:
    """The files below the directories of tests that this process has open."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir() if Path("/proc/self/fd").exists() else ():
        try:
            found.add(os.readlink(descriptor))
        except OSError:
            continue
    return {name for name in found if name.endswith("bans.txt")}


def edit(path: Path, text: str, modified: float = 0) -> None:
    """Write into the file, as an editor in place does."""
    path.write_text(text)
    if modified:
        os.utime(path, (modified, modified))


def test_a_file_is_in_force_from_the_start(site: Site) -> None:
    assert site.denied() == [ONE]
    assert site.told() == []


def test_an_edit_in_place_is_in_force_a_look_later(site: Site) -> None:
    edit(site.path, f"{TWO}\n")
    assert site.denied() == [ONE], "it is not a second later yet"
    assert site.later(), "the request that finds it out does not wait"
    assert site.denied() == [TWO]
    assert site.told() == ["ip_access.reloaded"]
    site.later()
    assert site.denied() == [TWO]
    assert site.told() == []


def test_a_file_that_is_renamed_into_its_place_is_noticed(site: Site) -> None:
    fresh = site.path.with_name("fresh.txt")
    fresh.write_text(f"{TWO}\n")
    status = site.path.stat()
    os.utime(fresh, ns=(status.st_atime_ns, status.st_mtime_ns))
    fresh.replace(site.path)
    site.later()
    assert site.denied() == [TWO]
    assert site.told() == ["ip_access.reloaded"]


def test_a_link_that_points_elsewhere_is_noticed(tmp_path: Path) -> None:
    """As Kubernetes changes the files of a ConfigMap."""
    for name, client in (("a", ONE), ("b", TWO)):
        tmp_path.joinpath(name).mkdir()
        tmp_path.joinpath(name, "bans.txt").write_text(client)
    link = tmp_path / "current"
    link.symlink_to("a")
    site = Site(link / "bans.txt")
    assert site.denied() == [ONE]
    tmp_path.joinpath("next").symlink_to("b")
    tmp_path.joinpath("next").replace(link)
    site.later()
    assert site.denied() == [TWO]


def test_event_tells_the_file_and_how_many(site: Site) -> None:
    edit(site.path, f"{ONE}\n{TWO}\n# two\n")
    site.later()
    site.denied()
    event = site.log.last
    assert (event.code, event.action) == ("ip_access.reloaded", "noticed")
    assert event.detail == {"file": str(site.path), "networks": 2}


def test_a_file_that_is_being_written_is_let_rest(site: Site) -> None:
    site.clock.now = site.path.stat().st_mtime  # the wall clock, this time
    edit(site.path, "# half of i", modified=site.clock.now + 1.5)
    assert site.later(2)
    assert site.policy.watch.reading is None, "written half a second ago"
    edit(site.path, f"# all of it\n{TWO}\n", modified=site.clock.now + 0.9)
    assert site.later()
    assert site.policy.watch.reading is None, "written a tenth of a second ago"
    assert site.later()
    assert site.denied() == [TWO]
    assert site.told() == ["ip_access.reloaded"]


def test_a_file_from_the_future_is_read_when_it_has_stayed_the_same_for_two_looks(site: Site) -> None:
    edit(site.path, f"{TWO}\n", modified=site.clock.now + 10_000)
    assert site.later()
    assert site.policy.watch.reading is None
    assert site.later()
    assert site.denied() == [TWO]


BROKEN = {
    "a line that is no network": (f"{TWO}\noffice\n", "line 2: 'office' is no address"),
    "a line with host bits": ("10.0.0.1/8\n", "line 1: 10.0.0.1/8 has host bits"),
    "another kind of file": ("\x7fELF\x00\x00\n", "line 1: "),
}


@pytest.mark.parametrize(("text", "problem"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_changes_nothing_and_is_told_of_once(site: Site, text: str, problem: str) -> None:
    edit(site.path, text)
    site.later()
    assert site.denied() == [ONE]
    (event,) = site.log.events
    assert event.code == "ip_access.unreadable"
    assert event.detail["file"] == str(site.path)
    assert problem in event.detail["problem"]
    site.told()
    for _ in range(3):
        assert site.later()
    assert site.told() == []
    edit(site.path, f"{TWO}\n")
    site.later()
    assert site.denied() == [TWO]
    assert site.told() == ["ip_access.reloaded"]


def test_a_file_that_is_gone_changes_nothing_and_is_told_of_once(site: Site) -> None:
    kept = site.path.with_name("kept.txt")
    site.path.rename(kept)
    assert site.later()
    assert site.told() == [], "it may be back in a moment"
    site.later()
    assert site.denied() == [ONE]
    (event,) = site.log.events
    assert event.code == "ip_access.unreadable"
    assert "No such file" in event.detail["problem"]
    site.told()
    for _ in range(3):
        assert site.later()
    assert site.told() == []
    kept.rename(site.path)
    site.later()
    assert site.denied() == [ONE]
    assert site.told() == ["ip_access.reloaded"], "the very file that was there"


def test_a_file_that_may_not_be_read_any_more_changes_nothing(site: Site) -> None:
    site.path.unlink()
    site.path.mkdir()
    site.later()
    assert site.later()
    assert site.denied() == [ONE]
    assert site.told() == ["ip_access.unreadable"]


def test_whatever_else_goes_wrong_is_told_and_changes_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: str) -> NetworkFile:
        raise MemoryError

    monkeypatch.setattr(NetworkFile, "read", read)
    edit(site.path, f"{TWO}\n")
    site.later()
    assert site.denied() == [ONE]
    (event,) = site.log.events
    assert event.detail["problem"] == "MemoryError"


def test_without_a_thread_the_old_list_holds_and_the_next_look_tries_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        edit(site.path, f"{TWO}\n")
        assert site.later()
        (event,) = site.log.events
        assert event.detail["problem"] == "can't start new thread"
    site.later()
    assert site.denied() == [TWO]


def test_requests_meanwhile_use_the_old_list_and_start_no_second_reader(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, began = threading.Event(), []
    real = NetworkFile.read

    def read(path: str) -> NetworkFile:
        began.append(path)
        assert go_on.wait(10)
        return real(path)

    monkeypatch.setattr(NetworkFile, "read", read)
    edit(site.path, f"{TWO}\n")
    site.clock.move(1)
    for _ in range(5):
        assert site.refuses(ONE)
        assert not site.refuses(TWO)
        site.clock.move(1)
    go_on.set()
    site.later(0)
    assert site.denied() == [TWO]
    assert len(began) == 1


def test_an_edit_while_it_is_read_is_read_as_well(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Networks.__init__

    def reading(self: Networks, lines: Any) -> None:
        real(self, list(lines))
        if site.path.stat().st_size < 20:
            edit(site.path, f"{TWO}\n# added at the last moment\n")

    monkeypatch.setattr(Networks, "__init__", reading)
    edit(site.path, "192.0.2.1\n")
    site.later()
    assert site.denied() == []
    site.later()
    assert site.denied() == [TWO]


def test_a_clock_that_was_set_back_does_not_stop_the_looking(site: Site) -> None:
    edit(site.path, f"{TWO}\n", modified=site.clock.now - 10_000)
    site.later(-5000)
    assert site.denied() == [TWO]


def test_the_file_is_looked_at_once_a_second(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []

    def look(path: str) -> Stamp | None:
        looks.append(path)
        return stamp_of(path)

    monkeypatch.setattr("secguard.ip_access.watch.stamp_of", look)
    for _ in range(40):
        site.clock.move(0.125)
        site.refuses(ONE)
    assert len(looks) == 5


def test_one_look_at_a_time(site: Site) -> None:
    """A second thread that serves requests does not wait for the first one's look, nor make one of its own."""
    edit(site.path, f"{TWO}\n")
    with site.policy.watch._lock:
        assert site.later()
    assert site.policy.watch.reading is None
    assert site.later(0)
    assert site.denied() == [TWO]


def test_a_file_in_two_places_is_one_file(path: Path) -> None:
    site = Site(path, rules=[{"paths": ["/admin"], "allow_files": [path]}], deny_files=[], deny=["192.0.2.1"])
    assert site.policy.admit(exchange("/admin", client=(ONE, 1))) is None
    assert site.policy.admit(exchange("/admin", client=(TWO, 1))) is not None
    edit(path, f"{TWO}\n")
    site.later()
    site.denied()
    assert site.policy.admit(exchange("/admin", client=(ONE, 1))) is not None
    assert site.policy.admit(exchange("/admin", client=(TWO, 1))) is None
    assert site.told() == ["ip_access.reloaded"]


def test_the_event_of_a_refusal_names_the_file(site: Site) -> None:
    refusal = site.policy.admit(exchange(client=(ONE, 1)))
    assert isinstance(refusal, Reply)
    assert refusal.event is not None
    assert refusal.event.detail == {"list": f"deny_files: {site.path}"}


def test_a_file_of_many_lines_may_have_marks_and_ends_of_any_kind(tmp_path: Path) -> None:
    path = tmp_path / "bans.txt"
    path.write_bytes(b"\xef\xbb\xbf" + f"{ONE}\r\n\r\n# caf\xe9\r\n  {TWO}\t# x".encode("latin-1"))
    assert Site(path).denied() == [ONE, TWO]


def test_a_change_of_the_working_directory_moves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    site = Site(Path(path.name))
    monkeypatch.chdir("/")
    edit(path, f"{TWO}\n")
    site.later()
    assert site.denied() == [TWO]


def test_what_is_replaced_is_given_back_at_once(site: Site) -> None:
    """Without waiting for the garbage collector: a million networks are not kept twice."""
    edit(site.path, "192.0.2.1\n")
    site.later()
    site.denied()
    gc.collect()
    gc.disable()
    try:
        edit(site.path, f"{TWO}\n")
        before = _sets()
        site.later()
        assert site.denied() == [TWO]
        assert _sets() == before
    finally:
        gc.enable()


def _sets() -> int:
    return sum(isinstance(held, NetworkFile) for held in gc.get_objects())
