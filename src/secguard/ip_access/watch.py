"""Files of networks, read again when they change.

1. A request looks at most once a second whether a file has changed. It never waits for one to be read.
2. What has changed is read in a thread of its own, which ends when that is done. Until then the old list holds.
3. A file that cannot be read, or has a mistake in it, changes nothing: the old list holds, and an Event says so, once.
4. A file that is being written is let rest for a second first: half a deny list would let the other half in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from threading import Lock, Thread
from typing import Final

from secguard._networks import Address, AddressSet
from secguard.ip_access.lists import NetworkFile, Stamp, stamp_of
from secguard.policy import Context

PAUSE: Final = 1.0  # seconds between two looks, and until a file is at rest


class Watched:
    """A file that is watched, and asked like what it holds."""

    __slots__ = ("file", "seen", "tried")

    def __init__(self, file: NetworkFile) -> None:
        self.file = file
        self.seen: Stamp | None = file.stamp
        self.tried: Stamp | None = file.stamp

    def __contains__(self, address: Address, /) -> bool:
        return address in self.file.networks

    def is_due(self, now: float) -> bool:
        """Look whether the file has changed since somebody tried to read it, and is at rest."""
        stamp = stamp_of(self.file.path)
        at_rest = stamp == self.seen or (stamp is not None and now - stamp.modified / 1e9 >= PAUSE)
        self.seen = stamp
        return at_rest and stamp != self.tried


class Watch:
    """All files of one policy. `reading` is the thread that reads what has changed, where there was one.

    Example:
        >>> watch = Watch([NetworkFile.read("office.txt")], Context())
        >>> watch.look()
    """

    def __init__(self, files: Iterable[NetworkFile], context: Context) -> None:
        self._files = {file.path: Watched(file) for file in files}
        self._context = context
        self._looked = context.clock()
        self._lock = Lock()
        self._read: deque[tuple[Watched, NetworkFile | str]] = deque()
        self.reading: Thread | None = None

    def of(self, file: NetworkFile) -> AddressSet:
        """Return what stands for the file while it is watched."""
        return self._files[file.path]

    def look(self) -> bool:
        """Take up what was read, and have read what has changed. Say whether other networks are in force now.

        Returns at once, and nearly always does nothing.
        """
        now = self._context.clock()
        pauses = 0 <= now - self._looked < PAUSE  # a clock that was set back must not keep us waiting
        if (pauses and not self._read) or not self._lock.acquire(blocking=False):
            return False
        takes_up = bool(self._read)
        try:
            while self._read:
                self._take_up(*self._read.popleft())
            if not pauses:
                self._looked = now
                if self.reading is None or not self.reading.is_alive():
                    self._read_again([watched for watched in self._files.values() if watched.is_due(now)])
        finally:
            self._lock.release()
        return takes_up

    def _read_again(self, due: list[Watched]) -> None:
        if not due:
            return
        thread = Thread(target=self._load, args=(due,), name="secguard-ip-access", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more threads to give: the next look tries again
            self._tell_unreadable(due[0].file.path, str(error))
            return
        self.reading = thread
        for watched in due:
            watched.tried = watched.seen

    def _load(self, due: list[Watched]) -> None:
        """Read files; in a thread. What comes of it is told, and takes effect, in that of a request."""
        for watched in due:
            try:
                self._read.append((watched, NetworkFile.read(watched.file.path)))
            except Exception as error:  # whatever it was, the old list holds, and that must be told
                self._read.append((watched, str(error) or type(error).__name__))

    def _take_up(self, watched: Watched, read: NetworkFile | str) -> None:
        if isinstance(read, str):
            self._tell_unreadable(watched.file.path, read)
            return
        watched.file = read
        watched.tried = read.stamp
        self._context.notice(
            "ip_access.reloaded",
            "the file has changed, and its new networks are in force",
            file=read.path,
            networks=len(read.networks),
        )

    def _tell_unreadable(self, path: str, problem: str) -> None:
        self._context.notice(
            "ip_access.unreadable",
            "the file has changed and was not read; what it held before is still in force",
            file=path,
            problem=problem,
        )
