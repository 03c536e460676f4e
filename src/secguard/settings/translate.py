"""From pydantic's errors to Problems that name the variable and say what to write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, get_args

from pydantic_core import ErrorDetails, core_schema

from secguard.settings.entries import Entry
from secguard.settings.errors import HIDDEN, Problem, shown, smells_secret
from secguard.settings.names import Path, canonical, nearest_field, shape_at, variable
from secguard.settings.reading import Reading
from secguard.settings.shape import ANYTHING, Shape

_PYDANTICS_OWN: Final = frozenset(get_args(core_schema.ErrorType))

_SHORTEST: Final = 3  # characters of what may be a secret

_UNITS: Final = {"age": " of seconds", "timeout": " of seconds", "size": " of bytes"}

_WISHES: Final = {
    "int_type": "a whole number{unit}",
    "int_parsing": "a whole number{unit}",
    "int_parsing_size": "a smaller whole number{unit}",
    "int_from_float": "a whole number{unit}",
    "float_type": "a number{unit}",
    "float_parsing": "a number{unit}",
    "finite_number": "a finite number{unit}",
    "greater_than": "a number{unit} above {gt}",
    "greater_than_equal": "a number{unit} from {ge} up",
    "less_than": "a number{unit} below {lt}",
    "less_than_equal": "a number{unit} of at most {le}",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    "too_short": "at least {min_length} items",
    "too_long": "at most {max_length} items",
}
_LISTS: Final = frozenset({"list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type"})
_GROUPS: Final = frozenset({"model_type", "model_attributes_type", "dict_type", "mapping_type"})


@dataclass(frozen=True, slots=True)
class _Place:
    """Where errors stand: the path, the shape there (of what is above, where a field is unknown), and who wrote it."""

    path: Path
    shape: Shape
    entry: Entry | None
    errors: list[ErrorDetails]

    @property
    def as_text(self) -> bool:
        """Whether it is just what a variable holds."""
        return self.entry is not None and _is_text(self.entry, self.path)


def translate(errors: Iterable[ErrorDetails], reading: Reading) -> list[Problem]:
    """Make one Problem for each place that has errors: a union complains once for each of its members."""
    places: dict[Path, _Place] = {}
    for error in errors:
        path, shape = _locate(error, reading.root)
        if not reading.follows(path):
            places.setdefault(path, _Place(path, shape, reading.above(path), [])).errors.append(error)
    return [_problem(place, reading) for place in places.values()]


def _locate(error: ErrorDetails, shape: Shape) -> tuple[Path, Shape]:
    path: Path = ()
    tagged = False
    for part in error["loc"]:
        if shape.members > 1 and not tagged:
            tagged = True  # pydantic names the member of the union here
            continue
        if part == "[key]":  # pydantic says so where the name itself is wrong
            return path, ANYTHING
        own = shape.items if isinstance(part, int) and shape.items else shape.below(part)
        path = (*path, part if own is None or part in shape.fields() else canonical(part))
        shape = own or (shape if error["type"] == "extra_forbidden" else ANYTHING)
        tagged = False
    return path, shape


def _problem(place: _Place, reading: Reading) -> Problem:
    code, message = _say(place)
    entry = place.entry
    if code == "missing-value":
        return Problem(code, _where(entry, place.path) if entry else variable(place.path), None, message)
    wrote = (
        [(entry, place.path, place.errors[0]["input"], place.shape)]
        if entry
        else [
            (part, part.path, part.value, shape_at(part.path, reading.root) or ANYTHING)
            for part in reading.below(place.path)
        ]
    )
    where, told = [], []
    for part, path, value, shape in wrote:
        where.append(_where(part, path))
        told.append(_shown(part, part.written if _is_text(part, path) else value, shape))
        if HIDDEN in told[-1] and isinstance(value, str):
            message = _without(value, message)
    return Problem(code, ", ".join(where) or variable(place.path), ", ".join(told) or None, message)


def _is_text(entry: Entry, path: Path) -> bool:
    """Whether `path` is just what a variable holds: not a part of JSON or of a list, nor passed in code."""
    return entry.written is not None and path == entry.whole


def _without(value: str, message: str) -> str:
    """Take a secret out of the message of a section that quotes it; what is too short to be one may be any word."""
    for quoted in (value, repr(value)[1:-1]):
        message = message.replace(quoted, HIDDEN) if len(quoted) > _SHORTEST else message
    return message


def _where(entry: Entry, path: Path) -> str:
    inner = (*entry.spelled, *path[len(entry.path) :])[len(entry.whole) :]
    tail = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in inner)
    return str(replace(entry.origin, name=entry.origin.name + tail))


def _shown(entry: Entry, value: object, shape: Shape) -> str:
    secret = entry.origin.kind == "secrets" or any(smells_secret(part) for part in entry.path)
    return shown(value, secret or shape.hides())


def _say(place: _Place) -> tuple[str, str]:
    own = [error for error in place.errors if error["type"] not in _PYDANTICS_OWN]
    kinds = {error["type"] for error in place.errors}
    if own:
        return own[0]["type"], " ".join(dict.fromkeys(_sentence(error["msg"]) for error in own))
    if "missing" in kinds:
        return "missing-value", "It must be set."
    if "extra_forbidden" in kinds:
        return "unknown-field", f"There is no such field. {nearest_field(place.path[-1], place.shape)}"
    sentences = [_sentence(_told(error)) for error in place.errors if _wish(error, place) is None]
    if sentences:
        return "invalid-value", " ".join(dict.fromkeys(sentences))
    return "invalid-value", f"Write {_choice(place)}."


def _choice(place: _Place) -> str:
    words = [str(literal) for literal in place.shape.literals]
    wishes = [wish for error in place.errors if (wish := _wish(error, place))]
    if place.shape.optional:
        words.append("off" if place.as_text else "None" if place.entry and place.entry.written is None else "null")
    if not wishes:
        return f"one of: {', '.join(words)}" if len(words) > 1 else words[0]
    *others, last = dict.fromkeys([*wishes, *words])
    return f"{', '.join(others)} or {last}" if others else last


def _wish(error: ErrorDetails, place: _Place) -> str | None:
    """Say what pydantic misses, as something to write; "" where the shape says it, None where there are no words."""
    kind = error["type"]
    if kind in {"literal_error", "none_required"}:
        return ""
    if kind in _LISTS:
        return "items with commas between them" if place.as_text else "a list"
    if kind in _GROUPS:
        return " or ".join(["a mapping", *(model.__name__ for model in place.shape.models)])
    unit = _UNITS.get(str(place.path[-1]).rpartition("_")[2], "") if place.path else ""
    return _WISHES[kind].format(unit=unit, **error.get("ctx", {})) if kind in _WISHES else None


def _told(error: ErrorDetails) -> str:
    raised = error.get("ctx", {}).get("error")
    return str(raised) if raised else error["msg"].replace("Input should", "It should")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."
