"""Look up the known vulnerabilities of what `secguard-asgi[all]` installs.

A vulnerability is a failure. A vulnerability service out of reach is not: it says so and passes.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = "secguard-asgi"


def installed_closure(name: str, extras: frozenset[str], seen: set[tuple[str, str]]) -> Iterator[str]:
    """Yield `name==version` for everything that `name[extras]` pulls in, itself excepted."""
    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        wanted = {
            extra for extra in extras or {""} if not requirement.marker or requirement.marker.evaluate({"extra": extra})
        }
        key = (canonicalize_name(requirement.name), ",".join(sorted(requirement.extras)))
        if not wanted or key in seen:
            continue
        seen.add(key)
        if key[0] != ROOT:
            yield f"{key[0]}=={distribution(key[0]).version}"
        yield from installed_closure(key[0], frozenset(requirement.extras), seen)


def main() -> int:
    pins = sorted(set(installed_closure(ROOT, frozenset({"all"}), set())))
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text("\n".join(pins) + "\n")
        command = ["pip_audit", "--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json", "-r"]
        run = subprocess.run(
            [sys.executable, "-m", *command, requirements], capture_output=True, text=True, check=False
        )
    try:
        report = json.loads(run.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (run.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"audit SKIPPED, the vulnerability service did not answer: {reason[:300]}")
        return 0
    found = [(package, vulnerability) for package in report for vulnerability in package.get("vulns", ())]
    for package, vulnerability in found:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no release yet"
        print(f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}")
    unknown = [package for package in report if "skip_reason" in package]
    if unknown:
        print(
            f"audit SKIPPED for {len(unknown)} of {len(report)} packages, unknown to the vulnerability service, such as"
        )
        print(f"  {unknown[0]['name']}: {unknown[0]['skip_reason']}")
    print(f"audit: {len(report) - len(unknown)} packages looked up, {len(found)} known vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
