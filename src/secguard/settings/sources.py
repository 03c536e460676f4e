"""Where variables are read: the environment, dotenv files, secrets directories. pydantic-settings does the reading."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource

from secguard.settings.errors import Problem, brief

PREFIX: Final = "SECGUARD_"
SECRETS_DIR: Final = PREFIX + "SECRETS_DIR"
ENV_FILE: Final = ".env"

Files: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Kind: TypeAlias = Literal["default", "profile", "development", "secrets", "dotenv", "environment", "code"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from.

    `kind` is `default`, `profile` (`name` is the profile), `development` (what that environment sets by itself),
    `secrets`, `dotenv` or `environment` (`name` is the variable, `file` where it stands), or `code` (`name` is the
    field).

    Example:
        >>> Settings().origins["mode"]
        Origin(kind='default', name='', file=None)
    """

    kind: Kind
    name: str = ""
    file: str | None = None

    def __str__(self) -> str:
        """Say it as an error message does."""
        if self.kind == "code":
            field, _, inner = self.name.partition(".")
            return f"Settings({brief(field)}=...)" + (f" field {brief(inner)}" if inner else "")
        return brief(self.name) + (f" in {self.file}" if self.file else "")


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of ours, as it is written."""

    name: str
    written: str
    origin: Origin


Layer: TypeAlias = list[Variable]


class Sources:
    """Every variable of ours, in layers, the strongest first; and what was wrong with the files they stand in."""

    def __init__(self, model: type[BaseSettings], env_file: Files | None, secrets_dir: Files | None) -> None:
        self.problems: list[Problem] = []
        self._model = model
        read = EnvSettingsSource(model, case_sensitive=True).env_vars
        environment = [
            Variable(name, text or "", Origin("environment", name)) for name, text in read.items() if _ours(name)
        ]
        layers = [environment, *(self._dotenv(file, env_file == ENV_FILE) for file in reversed(_paths(env_file)))]
        directories = self._named_directory(layers)
        if secrets_dir is not None:
            directories = [(path, "Settings(_secrets_dir=...)") for path in _paths(secrets_dir)]
        self.layers: list[Layer] = [*layers, *(self._secrets(*directory) for directory in reversed(directories))]

    def _dotenv(self, file: Path, may_lack: bool) -> Layer:
        shown = str(file)
        try:
            path = file.expanduser()
            if path.is_fifo():
                raise OSError(errno.ESPIPE, "it is a pipe, and would have to be read twice")
            text = path.read_text("utf-8-sig")
            # utf-8-sig: a byte order mark would become part of the first name, and hide it.
            read = DotEnvSettingsSource(
                self._model, env_file=path, env_file_encoding="utf-8-sig", case_sensitive=True
            ).env_vars
        except (OSError, ValueError, RuntimeError) as error:
            if not (may_lack and isinstance(error, FileNotFoundError)):
                self._unreadable("Settings(_env_file=...)", shown, error)
            return []
        lines = Counter(match[1] for match in _LINE.finditer(text))
        for name, count in lines.items():
            if read.get(name) is None:
                message = (
                    "This line cannot be read. Write NAME=value, with a quote at both ends of the value or at none."
                )
                self.problems.append(Problem("bad-line", f"{brief(name)} in {shown}", None, message))
            elif count > 1:
                message = f"It stands there {count} times. Keep one of them."
                self.problems.append(Problem("set-twice", f"{brief(name)} in {shown}", None, message))
        return [
            Variable(name, text, Origin("dotenv", name, shown))
            for name, text in read.items()
            if _ours(name) and text is not None
        ]

    def _named_directory(self, layers: list[Layer]) -> list[tuple[Path, str]]:
        """Take the variable that names the secrets directory out of the layers."""
        found: list[Variable] = []
        for layer in layers:
            named = [variable for variable in layer if variable.name.upper() == SECRETS_DIR]
            layer[:] = [variable for variable in layer if variable not in named]
            if len(named) > 1:
                names = " and ".join(str(variable.origin) for variable in named)
                self.problems.append(Problem("set-twice", names, None, "They are the same variable. Keep one of them."))
            found += named
        if found and not found[0].written.strip():
            message = "It is empty. Write the path of a directory, or take the variable away."
            self.problems.append(Problem("empty-value", str(found[0].origin), "''", message))
            return []
        return [(Path(variable.written.strip()), str(variable.origin)) for variable in found[:1]]

    def _secrets(self, directory: Path, where: str) -> Layer:
        layer: Layer = []
        try:
            files = sorted(file for file in directory.expanduser().iterdir() if _ours(file.name))
        except (OSError, ValueError, RuntimeError) as error:
            self._unreadable(where, str(directory), error)
            return layer
        for file in files:
            origin = Origin("secrets", file.name, str(directory))
            try:
                layer.append(Variable(file.name, file.read_text("utf-8-sig").strip(), origin))
            except (OSError, ValueError) as error:
                self._unreadable(str(origin), str(file), error)
        return layer

    def _unreadable(self, where: str, path: str, error: Exception) -> None:
        said = getattr(error, "strerror", None) or str(error)
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else said[:1].lower() + said[1:]
        self.problems.append(Problem("unreadable-file", where, None, f"{path} cannot be read: {reason}."))


_LINE: Final = re.compile(rf"^[ \t]*(?:export[ \t]+)?['\"]?({PREFIX}[^\s=:#'\"]*)", re.IGNORECASE | re.MULTILINE)


def _ours(name: str) -> bool:
    return name.upper().startswith(PREFIX)


def _paths(files: Files | None) -> list[Path]:
    if files is None:
        return []
    listed: Iterable[str | os.PathLike[str]] = [files] if isinstance(files, str | os.PathLike) else files
    return [Path(file) for file in listed]
