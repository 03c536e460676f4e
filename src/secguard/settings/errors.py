"""What is wrong with the settings, in words that say what to write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from secguard.events import on_one_line

_LONGEST: Final = 200  # characters of a value that is shown
_DEEPEST: Final = 5  # levels of one

HIDDEN: Final = "********"

_SECRET_NAME: Final = re.compile(r"secret|passw|passphrase|token|(?:^|_|-)(?:api)?keys?(?:$|_|-)", re.IGNORECASE)
_OURS: Final = frozenset({"key", "max_keys"})  # fields that tell what is counted by, and how much of it
_USERINFO: Final = re.compile(r"(?<=://)[^\s\"']*@")


class Mistake(Exception):  # noqa: N818 - it never leaves the reading: Problem and SettingsError do
    """A mistake found where it is not known yet which variable it stands in."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Problem:
    r"""One mistake. `code` is stable, and a heading of docs/reference/errors.md.

    `where` is the variable, or the field as it was passed in code. `value` is what stands there, ready to be shown:
    quoted, cut at 200 characters, secrets masked; None where there is nothing to show. `message` says what to write.

    Example:
        >>> str(Problem("unknown-variable", "SECGUARD_MOD", "'report'", "There is no such variable."))
        "SECGUARD_MOD = 'report'\n   There is no such variable.   [unknown-variable]"
    """

    code: str
    where: str
    value: str | None
    message: str

    def __post_init__(self) -> None:
        # Names and messages may hold what others wrote: it must not break the line, nor the terminal.
        object.__setattr__(self, "where", on_one_line(self.where))
        object.__setattr__(self, "message", on_one_line(self.message))

    def __str__(self) -> str:
        said = self.where if self.value is None else f"{self.where} = {self.value}"
        return f"{said}\n   {self.message}   [{self.code}]"


class SettingsError(ValueError):
    """The settings are wrong. `problems` holds every mistake; the message lists them all.

    Example:
        >>> try:
        ...     Settings(mode="reprot", headers={"frame_option": "DENY"})
        ... except SettingsError as error:
        ...     print([problem.code for problem in error.problems])
        ['unknown-field', 'invalid-value']
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        mistakes = "1 mistake" if len(self.problems) == 1 else f"{len(self.problems)} mistakes"
        told = "\n\n".join(
            f"{number:3}. {problem}".replace("\n   ", "\n     ") for number, problem in enumerate(self.problems, 1)
        )
        return (
            f"secguard found {mistakes} in its settings:\n\n{told}\n\n"
            "Each word in [brackets] is a heading of docs/reference/errors.md, with an example."
        )


def smells_secret(name: object) -> bool:
    """Whether a value under this name should not be shown."""
    if not isinstance(name, str) or name.rpartition("__")[2].lower() in _OURS:
        return False
    return _SECRET_NAME.search(name) is not None


def shown(value: object, secret: bool = False) -> str:
    """Return the value fit for one line: quoted, cut, secrets and the user part of URLs masked."""
    try:
        text = repr(_masked(value, secret))
    except Exception:  # what was passed in code need not have one
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def without_userinfo(text: str) -> str:
    """Mask what stands before the `@` of a URL."""
    return _USERINFO.sub(f"{HIDDEN}@", text)


def brief(name: str) -> str:
    """Return a name, cut where it is very long."""
    return name if len(name) <= _LONGEST else name[:_LONGEST] + "…"


def _masked(value: object, secret: bool, depth: int = 0) -> object:
    if depth > _DEEPEST:
        return ...
    if isinstance(value, Mapping):
        return {name: _masked(inner, secret or smells_secret(name), depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(inner, secret, depth + 1) for inner in value]
    if secret:
        return HIDDEN
    return without_userinfo(value) if isinstance(value, str) else value
