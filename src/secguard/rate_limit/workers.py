"""Counts in memory are each process's own: finding out whether there are several, and saying so.

WEB_CONCURRENCY, UVICORN_WORKERS, GRANIAN_WORKERS    what uvicorn, gunicorn, hypercorn and granian read
--workers N, --workers=N, -w N                       what they are started with
processes of the same parent that run the same       what is left to see once they are there (Linux)
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

_VARIABLES: Final = ("WEB_CONCURRENCY", "UVICORN_WORKERS", "GRANIAN_WORKERS")
_OPTION: Final = re.compile(r"(?:--workers|-w)=?([0-9]+)?")
_NUMBER: Final = re.compile("[0-9]{1,6}")
_PROC: Final = Path("/proc")


def workers_wanted(environment: Mapping[str, str], arguments: Sequence[str]) -> int:
    """Return the workers that the server was told to start, or 1 where nobody said so."""
    told = [environment.get(name, "") for name in _VARIABLES]
    for argument, value in zip(arguments, (*arguments[1:], ""), strict=False):
        if match := _OPTION.fullmatch(argument):
            told.append(match[1] or value)
    return max((int(number) for number in told if _NUMBER.fullmatch(number)), default=1)


def siblings(proc: Path | None = None) -> int:
    """Return how many processes of our parent run what we run, ourselves included; 1 where that cannot be seen."""
    proc = proc or _PROC
    parent, own = os.getppid(), _program(proc / str(os.getpid()))
    return max(1, sum(_program(entry) == own for entry in proc.glob("[0-9]*") if _parent(entry) == parent))


def _parent(process: Path) -> int | None:
    """Return the number of a process's parent. Its name, in parentheses before it, may hold anything."""
    try:
        return int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):  # it has gone, or is none
        return None


def _program(process: Path) -> bytes:
    """Return what a process runs. What multiprocessing starts differs in the numbers of its pipes."""
    try:
        return re.sub(rb"\d+", b"", (process / "cmdline").read_bytes())
    except OSError:
        return b""


class Workers:
    """Tells once that there are several processes, each of which counts by itself: Event `rate_limit.workers`."""

    def __init__(self, notice: Callable[..., None]) -> None:
        self._notice = notice
        self._told = False

    def look(self, count: int) -> None:
        """Tell of so many processes, unless that has been done."""
        if count > 1 and not self._told:
            self._told = True
            self._notice("rate_limit.workers", _SEVERAL, workers=count)


_SEVERAL: Final = (
    "counts in memory are each process's own, and there are several: every limit is that many times what is written; "
    "set SECGUARD_RATE_LIMIT__STORAGE=valkey://HOST:6379 (or redis://) so that they count together"
)
