"""The judges that are written in JavaScript, run by the machine's Node.js from where `make judges` installs them."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.helpers import skip_at_home

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / "build/judges"

OLDEST = 20  # that the Observatory says it runs on

REMEDY = "`make judges` installs the packages, `apt install nodejs npm` what that needs"

Ask: TypeAlias = Callable[[str, Any], Any]


@pytest.fixture(scope="session")
def ask() -> Ask:
    """Return what puts a question to a script of this folder, as JSON, and returns its answer."""
    node = shutil.which("node")
    if node is None or _major(node) < OLDEST:
        skip_at_home(f"Node.js {OLDEST} or newer is missing; {REMEDY}")
    if any(_version_installed(package) != version for package, version in _wanted().items()):
        skip_at_home(f"csp_evaluator or @mdn/mdn-http-observatory is missing; {REMEDY}")

    def put(script: str, question: Any) -> Any:
        # Node looks for packages where a script lies, or, for one on the command line, where it is run.
        code = HERE.joinpath(script).read_text()
        answer = subprocess.run(
            [node, "--input-type=module", "--eval", code],
            cwd=INSTALLED, input=json.dumps(question), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert answer.returncode == 0, f"{script}: {answer.stderr}"
        return json.loads(answer.stdout)

    return put


def _major(node: str) -> int:
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    return int(version.removeprefix("v").partition(".")[0])


def _wanted() -> dict[str, str]:
    wanted: dict[str, str] = json.loads(HERE.joinpath("package.json").read_text())["dependencies"]
    return wanted


def _version_installed(package: str) -> str | None:
    about = INSTALLED.joinpath("node_modules", package, "package.json")
    return str(json.loads(about.read_text())["version"]) if about.is_file() else None
