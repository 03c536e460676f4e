"""The shape of an annotation: what may be written below it, and how text becomes its value."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr

from secguard.policy import Section
from secguard.settings.errors import Mistake

EMPTY: Final = object()
"""Says that a group is on, and nothing else about it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What an annotation allows. Several of these hold for a union."""

    models: tuple[type[BaseModel], ...] = ()
    values: Shape | None = None  # of a mapping
    items: Shape | None = None  # of a list
    literals: tuple[object, ...] = ()
    optional: bool = False
    scalar: bool = False
    secret: bool = False
    members: int = 1  # of a union, None apart: pydantic names the member in the location of its errors

    @property
    def group(self) -> bool:
        """Whether names may stand below it."""
        return bool(self.models) or self.values is not None

    def fields(self) -> dict[str, Shape]:
        """Return the shape of each field, where this is a section or a part of one."""
        return {name: shape for model in self.models for name, shape in fields(model).items()}

    def gone(self) -> dict[str, str]:
        """Return what the sections here say of names that are no fields of theirs any more."""
        sections = [model for model in self.models if issubclass(model, Section)]
        return {name: remedy for section in sections for name, remedy in section.gone.items()}

    def below(self, name: object) -> Shape | None:
        """Return the shape of what stands below it under `name`, or None where nothing can."""
        own = self.fields().get(name) if isinstance(name, str) else None
        return own or self.values

    def hides(self) -> bool:
        """Whether a secret may stand anywhere in its value."""
        return self.secret or any(
            shape.hides() for shape in (self.values, self.items, *self.fields().values()) if shape
        )


ANYTHING: Final = Shape(scalar=True)


@lru_cache(maxsize=256)
def fields(model: type[BaseModel]) -> dict[str, Shape]:
    """Return the shape of each field of a model, by name."""
    return {name: shape_of(field.annotation) for name, field in model.model_fields.items()}


def shape_of(annotation: Any) -> Shape:
    """Take an annotation apart."""
    origin, args = get_origin(annotation), get_args(annotation)
    kind = origin or annotation
    if origin is Annotated:
        return shape_of(args[0])
    if origin is Union or origin is UnionType:
        return _union([shape_of(arg) for arg in args if arg is not NoneType], NoneType in args)
    if origin is Literal:
        return Shape(literals=args, scalar=True)
    if not isinstance(kind, type) or issubclass(kind, str | bytes):
        return ANYTHING
    if issubclass(kind, BaseModel):
        return Shape(models=(kind,))
    if issubclass(kind, Mapping):
        return Shape(values=shape_of(args[1]) if args else ANYTHING)
    if issubclass(kind, Collection):
        return Shape(items=shape_of(args[0]) if args else ANYTHING)
    return Shape(scalar=True, secret=issubclass(kind, SecretStr | SecretBytes))


def _union(members: list[Shape], optional: bool) -> Shape:
    return Shape(
        models=tuple(model for member in members for model in member.models),
        values=next((member.values for member in members if member.values), None),
        items=next((member.items for member in members if member.items), None),
        literals=tuple(literal for member in members for literal in member.literals),
        optional=optional,
        scalar=any(member.scalar for member in members),
        secret=any(member.secret for member in members),
        members=len(members),
    )


# Where a list of hosts begins with an IPv6 literal, its bracket opens no JSON.
_IPV6: Final = re.compile(r"\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]")


def read(written: str, shape: Shape, name: str) -> object:
    """Return the value that the text of the variable `name` stands for: a string for what pydantic is to read.

    Raises:
        Mistake: the text cannot stand for anything of this shape.
    """
    text = written.strip()
    word = text.lower()
    if not text:
        remedy = "[] for an empty list" if shape.items else ("off" if shape.optional else "a value")
        raise Mistake("empty-value", f"It is empty. Write {remedy}, or take the variable away.")
    if word in {"off", "on"}:
        if word in shape.literals:
            return word
        if word == "off" and shape.optional:
            return None
        if word == "on" and shape.models:
            return EMPTY
    if (shape.group or shape.items) and text[0] in "{[" and not _IPV6.match(text):
        return _json(text)
    if shape.items and not shape.items.group and (not shape.scalar or "," in text):
        return _split(text)
    if not shape.scalar:
        raise Mistake("invalid-value", f"Write {wanted(shape, name)}.")
    return text


def wanted(shape: Shape, name: str) -> str:
    """Say what may be written into the variable `name`, where it takes more than one word."""
    off = "off, " if shape.optional else ""
    if shape.models:
        example = next((f" ({name}__{field.upper()}=…)" for field in shape.fields()), "")
        return f"on, {off}a JSON object, or one variable for each field{example}"
    if shape.values:
        return f"{off}a JSON object, or one variable for each name ({name}__NAME=…)"
    return f"{off}a JSON list of objects"


def _split(text: str) -> list[str]:
    items = [item.strip() for item in text.split(",")]
    if "" in items:
        raise Mistake("empty-item", "An item is empty. Write items with exactly one comma between them.")
    return items


def _json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        told = f"{error.msg.lower()} at character {error.pos + 1}"
        raise Mistake("bad-json", f'It is not JSON: {told}. Names and texts stand in "".') from None
    except (RecursionError, ValueError):
        raise Mistake("bad-json", "It is nested too deeply, or a number in it has thousands of digits.") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Mistake("set-twice", f"Its JSON sets {twice!r} twice. Keep one of them.")
    return value


def _constant(name: str) -> object:
    raise Mistake("bad-json", f"It is not JSON: {name} is no number there.")
