"""Sections: the pydantic models that configure one policy each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import GenericAlias
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema

Environment: TypeAlias = Literal["production", "development"]
Profile: TypeAlias = Literal["web", "strict", "api"]
Mode: TypeAlias = Literal["enforce", "report"]


_T = TypeVar("_T")


class _HeldAsTuple:
    """Makes pydantic read a sequence as it reads a tuple."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(GenericAlias(tuple, (*get_args(source), ...)))


# What a field of several items is declared as: type checkers take a list for it, and it holds a tuple, which is frozen.
Several: TypeAlias = Annotated[Sequence[_T], _HeldAsTuple()]


def split_commas(value: object) -> object:
    """Take a text apart at its commas, blanks trimmed; leave whatever is a list already."""
    return [item.strip() for item in value.split(",")] if isinstance(value, str) else value


# Lets `Annotated[Several[str], COMMAS]` be written "a, b" in code too, as it is in an environment variable.
COMMAS: Final = BeforeValidator(split_commas)


class Section(BaseModel):
    """The settings of one policy: frozen, and closed to fields it does not know.

    `profiles` holds, per profile, what differs from the field defaults (which are those of `web`). It is laid under
    what the user wrote, so that a field the user set always wins.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True)
    profiles: ClassVar[Mapping[Profile, Mapping[str, Any]]] = {}
    gone: ClassVar[Mapping[str, str]] = {}
    """Names that people expect among the fields and will not find, and what to use in their place."""

    def under(self, profile: Profile) -> Self:
        """Return this section with every field the user left alone set as `profile` has it."""
        return self.model_validate(overlay(self.profiles.get(profile, {}), self.model_dump(exclude_unset=True)))


class RefusingSection(Section):
    """The settings of a policy that can refuse."""

    mode: Mode = "enforce"
    """`report` lets through what would be refused, and only tells of it."""


def meant(name: str, fields: Iterable[str], gone: Mapping[str, str]) -> str:
    """Say what somebody meant who wrote the name of a field that does not exist."""
    field, known = name.lower().replace("-", "_"), list(fields)
    if field in gone:
        return f"{name} is obsolete; {gone[field]}."
    close = get_close_matches(field, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(known)}."


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two nested mappings: `above` wins, except where both hold a mapping, which is merged in turn."""
    merged = {**below, **above}
    for name in below.keys() & above.keys():
        under, over = below[name], above[name]
        if isinstance(under, Mapping) and isinstance(over, Mapping):
            merged[name] = overlay(under, over)
    return merged
