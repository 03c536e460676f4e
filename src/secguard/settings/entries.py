"""Entries: what somebody wrote, taken apart into leaves."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import BaseModel

from secguard.settings.names import Path, canonical, underscored
from secguard.settings.shape import ANYTHING, EMPTY, Shape
from secguard.settings.sources import Origin


@dataclass(frozen=True, slots=True)
class Entry:
    """A leaf that somebody set.

    `spelled` is its path in the writer's own words, `whole` the path of the variable it was part of, and `written` the
    text of that.
    """

    path: Path
    spelled: Path
    value: object
    origin: Origin
    whole: Path
    written: str | None = None

    def given(self) -> Path:
        """Return its path as pydantic takes it: fields by their names, what is in a mapping as it was written."""
        return tuple(
            part if part == underscored(name) else name for part, name in zip(self.path, self.spelled, strict=True)
        )


Entries: TypeAlias = list[Entry]


def dotted(path: Iterable[object]) -> str:
    """Return a path as it is written in code: `headers.hsts.max_age`."""
    return ".".join(str(part) for part in path)


def spread(
    path: Path,
    spelled: Path,
    value: object,
    shape: Shape,
    origin: Origin | None = None,
    variable: tuple[Path, str] | None = None,
) -> Iterator[Entry]:
    """Take a value apart into its leaves, as far as its shape has names."""
    if isinstance(value, Mapping) and value and shape.group:
        fields = shape.fields()
        for name, inner in value.items():
            field = underscored(name)  # a section takes names as headers spell them, too
            part = field if field in fields or not shape.values else canonical(name)
            own = shape.below(part) or ANYTHING
            yield from spread((*path, part), (*spelled, name), inner, own, origin, variable)
    else:
        leaf = EMPTY if isinstance(value, Mapping) and shape.group else value
        whole, written = variable or (path, None)
        yield Entry(path, spelled, leaf, origin or Origin("code", dotted(spelled)), whole, written)


def leaves(path: Path, value: object) -> Iterator[Path]:
    """Yield the path of every leaf of finished settings."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from leaves((*path, name), getattr(value, name))
    elif isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from leaves((*path, canonical(name)), inner)
    else:
        yield path


def is_set(value: object, path: Path) -> bool:
    """Whether somebody set `path` in what was passed as one value: in instances and mappings, that can be told."""
    for part in path:
        if isinstance(value, BaseModel):
            held: dict[Hashable, object] = {name: getattr(value, name) for name in value.model_fields_set}
        elif isinstance(value, Mapping):
            held = {canonical(name): inner for name, inner in value.items()}
        else:
            break
        if part not in held:
            return False
        value = held[part]
    return True
