"""Print, as pip constraints, the oldest version of each dependency that pyproject.toml declares."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = tomllib.loads(Path(__file__).parent.parent.joinpath("pyproject.toml").read_text())["project"]

for line in PROJECT["dependencies"]:
    requirement = Requirement(line)
    (oldest,) = (bound.version for bound in requirement.specifier if bound.operator == ">=")
    print(f"{requirement.name}=={oldest}")
