"""Instructions a request executes, counted by callgrind: the same count on any day, whatever else the machine does.

1. A child process under callgrind builds every app and forks once per case and run length: the forks inherit what has
   been counted so far, and each reports its own total at its end.
2. The totals of a case's two run lengths are subtracted. Start-up and warm-up cancel, requests remain.
"""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.cases import BARE, COUNTED, CROSS_ORIGIN, PAIRED, Case, build
from tests.benchmarks.spread import NotMeasuredError
from tests.benchmarks.traffic import batch_for

SHORT, LONG = 100, 300
_ALL = tuple(dict.fromkeys((*COUNTED, *PAIRED, *CROSS_ORIGIN)))
_TOTAL = re.compile(r"Collected : (\d+)")
_ROOT = Path(__file__).parents[2]


def measure() -> dict[Case, float]:
    """Return the instructions a request costs: for the bare app in whole, for the others what they add to it."""
    if shutil.which("valgrind") is None:
        raise NotMeasuredError("valgrind is not installed (Debian, Ubuntu: apt install valgrind)")
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={folder}/%p"]
        ran = subprocess.run(
            [*command, sys.executable, "-m", __name__],
            cwd=_ROOT,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        if ran.returncode:
            raise NotMeasuredError(f"callgrind failed: {ran.stderr.strip().splitlines()[-1:]}")
        totals = {}
        for line in ran.stdout.splitlines():
            name, length, process = line.rsplit("\t", 2)
            total = _TOTAL.search(Path(folder, process).read_text())
            if total is None:
                raise NotMeasuredError("callgrind reported no total")
            totals[name, int(length)] = int(total[1])
    whole = {
        case: (totals[case.name, LONG] - totals[case.name, SHORT]) / (LONG - SHORT)
        for case in _ALL
        if (case.name, LONG) in totals
    }
    return {case: count if case is BARE else count - whole[BARE] for case, count in whole.items()}


def run_forks() -> None:
    """Run every case for both lengths, each in a fork of its own, and tell which process that was."""
    apps, _ = build(_ALL)
    for case, app in apps.items():
        batch = batch_for(app, case.traffic)
        scopes = case.traffic.scopes(LONG)
        gc.collect()
        gc.freeze()
        for length in (SHORT, LONG):
            if process := os.fork():
                os.waitpid(process, 0)
                print(case.name, length, process, sep="\t", flush=True)
            else:
                gc.disable()
                del scopes[length:]
                batch(app, scopes)
                os._exit(0)


if __name__ == "__main__":
    run_forks()
