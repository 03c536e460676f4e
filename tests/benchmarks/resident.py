"""What Linux tells of the memory of this process."""

from __future__ import annotations

import resource
from pathlib import Path


def resident(name: str) -> float:
    """Return the MiB that Linux tells of this process; elsewhere its peak, which is coarser."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    (line,) = [line for line in status.splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) / 1024
