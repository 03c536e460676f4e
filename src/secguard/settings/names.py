"""From the name of a variable to the place it sets, and from a mistyped name to the nearest right one."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator
from difflib import get_close_matches
from typing import Final, TypeAlias

from secguard.policy.section import meant
from secguard.settings.errors import Problem, shown, smells_secret
from secguard.settings.shape import Shape
from secguard.settings.sources import PREFIX, SECRETS_DIR, Variable

Path: TypeAlias = tuple[Hashable, ...]

SEPARATOR: Final = "__"
_UNDERSCORES: Final = re.compile(r"_+")


def canonical(name: Hashable) -> Hashable:
    """Return the name by which a mapping's entry is compared: headers, permissions and directives have no case."""
    return name.lower().replace("_", "-") if isinstance(name, str) else name


def underscored(name: Hashable) -> Hashable:
    """Return the name of a field that is written as a header's."""
    return name.replace("-", "_") if isinstance(name, str) else name


def locate(name: str, root: Shape) -> Path | None:
    """Return the path that a variable sets, or None where it sets nothing that exists."""
    path: Path = ()
    shape: Shape | None = root
    for part in name[len(PREFIX) :].lower().split(SEPARATOR):
        if shape is None or not part:
            return None
        own = shape.fields()
        path = (*path, part if part in own else canonical(part))
        shape = own.get(part) or shape.values
    return path if shape else None


def variable(path: Path) -> str:
    """Return the name of the variable that sets `path`."""
    return PREFIX + SEPARATOR.join(str(part).upper().replace("-", "_") for part in path)


def shape_at(path: Iterable[Hashable], root: Shape) -> Shape | None:
    """Return the shape of what stands at `path`, or None where nothing can."""
    shape: Shape | None = root
    for part in path:
        shape = shape.below(part) if shape else None
    return shape


def unknown(stranger: Variable, root: Shape) -> Problem:
    """Make the Problem of a variable that sets nothing: with the name that was meant, as far as it can be told."""
    known = dict(_known(root))
    code, message = "unknown-variable", "There is no such variable. "
    name = stranger.name.upper()
    if right := _underscored(name, known):
        code, message = "misplaced-underscore", f"Two underscores stand between the parts of a name: write {right}."
    elif obsolete := _gone(name, root):
        message += obsolete
    elif right := _blocked(name, root):
        message += f"{right} takes no names below it: write its value there, and a list as JSON or with commas."
    elif right := _nearest(name, root, known):
        message += f"Did you mean {right}?"
    else:
        message += f"The first part is one of: {', '.join(name.upper() for name in root.fields())}."
    secret = stranger.origin.kind == "secrets" or smells_secret(stranger.name) or smells_secret(right)
    return Problem(code, str(stranger.origin), shown(stranger.written, secret), message)


def nearest_field(name: object, shape: Shape | None) -> str:
    """Say which field was meant, or which there are."""
    return meant(str(name), shape.fields() if shape else (), shape.gone() if shape else {})


def _known(shape: Shape, start: str = PREFIX) -> Iterator[tuple[str, Shape]]:
    for field, own in shape.fields().items():
        name = start + field.upper()
        yield name, own
        yield from _known(own, name + SEPARATOR)


def _collapse(name: str) -> str:
    return _UNDERSCORES.sub("_", name).strip("_")


def _underscored(name: str, known: dict[str, Shape]) -> str | None:
    collapsed = _collapse(name)
    for right, shape in known.items():
        if _collapse(right) == collapsed:
            return right
        if shape.values and not shape.values.group and collapsed.startswith(own := _collapse(right) + "_"):
            return f"{right}{SEPARATOR}{collapsed.removeprefix(own)}"
    return SECRETS_DIR if collapsed == SECRETS_DIR else None


def _blocked(name: str, root: Shape) -> str | None:
    """Return the variable below which `name` stands, where nothing can."""
    parts = name.split(SEPARATOR)
    for end in range(1, len(parts)):
        above = SEPARATOR.join(parts[:end])
        shape = shape_at(locate(above, root) or (), root)
        if shape and not shape.group:
            return above
    return None


def _gone(name: str, root: Shape) -> str:
    """Say what to use in place of a name that does not exist any more."""
    above, _, part = name.rpartition(SEPARATOR)
    shape = shape_at(locate(above, root) or (), root) or root
    return nearest_field(part, shape) if part.lower() in shape.gone() else ""


def _nearest(name: str, root: Shape, known: dict[str, Shape]) -> str | None:
    """Mend the name part by part, and where that fails take the known name that is nearest as a whole."""
    shape: Shape | None = root
    right = []
    parts = name.removeprefix(PREFIX).lower().split(SEPARATOR)
    for part in parts:
        names = list(shape.fields()) if shape else []
        if len(parts) == 1:
            names.append(SECRETS_DIR.removeprefix(PREFIX).lower())  # which is no field
        close = get_close_matches(part, names, n=1)
        if not close and (shape is None or shape.values is None or not part):
            break
        right.append(close[0] if close else part)
        shape = shape.below(right[-1]) if shape else None
    else:
        return PREFIX + SEPARATOR.join(right).upper()
    # Without the prefix, which all have in common.
    names = [right.removeprefix(PREFIX) for right in (*known, SECRETS_DIR)]
    close = get_close_matches(name.removeprefix(PREFIX), names, n=1)
    return PREFIX + close[0] if close else None
