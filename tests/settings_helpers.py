"""A Settings with a toy section that has a field of every kind, and two ways to make one: right and wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, ClassVar, Literal, Self
from unittest import mock

import pytest
from pydantic import BaseModel, BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from secguard.policy import Profile, RefusingSection, Section
from secguard.settings import Problem, Settings, SettingsError


def _each(quota: object) -> object:
    return dict.fromkeys(quota.split(), 1) if isinstance(quota, str) else quota


class Part(Section):
    depth: int = Field(default=1, ge=0)
    label: str | None = "plain"
    deep: bool = False

    @model_validator(mode="after")
    def _deep_is_deep(self) -> Self:
        if self.deep and self.depth < 10:
            raise PydanticCustomError("toy-shallow", "deep needs a depth of 10 or more")
        return self


class Rule(BaseModel, frozen=True, extra="forbid"):
    paths: tuple[str, ...]
    count: int = 0


class Toy(RefusingSection):
    flag: bool = False
    maybe: bool | None = True
    count: int = Field(default=3, ge=0)
    max_age: int = 60
    ratio: float = Field(default=0.5, gt=0)
    label: str = Field(default="plain", max_length=40)
    names: tuple[str, ...] = ("one",)
    sizes: list[int] | None = None
    pair: str | tuple[str, ...] = "one"
    choice: Literal["auto", "off", "on"] = "auto"
    frame: Literal["DENY", "SAME"] | None = "SAME"
    either: int | Literal["all"] = "all"
    part: Part | None = Part()
    table: dict[str, tuple[str, ...] | None] = Field(default_factory=dict)
    limits: Mapping[str, int] | None = None
    quota: Annotated[dict[str, int], BeforeValidator(_each)] = Field(default_factory=dict)
    parts: dict[str, Part] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    password: SecretStr | None = None
    pins: tuple[SecretStr, ...] = ()
    token: str | None = None
    storage: str = "memory://"

    gone: ClassVar[Mapping[str, str]] = {"old_count": "use count"}
    profiles: ClassVar[Mapping[Profile, Mapping[str, Any]]] = {
        "strict": {"count": 7, "part": {"depth": 20}, "table": {"camera": []}, "frame": "DENY"},
        "api": {"part": None},
    }

    @field_validator("storage")
    @classmethod
    def _has_scheme(cls, storage: str) -> str:
        if "://" not in storage:
            raise ValueError(f"{storage} has no scheme")
        return storage

    @field_validator("token")
    @classmethod
    def _is_long(cls, token: str | None) -> str | None:
        if token == "short":
            raise PydanticCustomError("toy-token", "{token} is too short", {"token": token})
        return token

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.token and self.label == "x":
            raise PydanticCustomError("toy-label", "label goes with no {token}", {"token": repr(self.token).strip("'")})
        return self


class Spare(Section):
    """A section that is off by default and has a field that must be set."""

    size: int
    colour: str = "red"

    profiles: ClassVar[Mapping[Profile, Mapping[str, Any]]] = {"strict": {"colour": "black"}}


class ToySettings(Settings):
    toy: Toy | None = Field(default_factory=Toy)
    spare: Spare | None = None


def settings(
    env: Mapping[str, str] | None = None,
    dotenv: str | bytes | None = None,
    secrets: Mapping[str, str | bytes] | None = None,
    **code: Any,
) -> ToySettings:
    """Make settings in a directory and an environment of their own. `code` are the keywords."""
    with TemporaryDirectory() as directory, mock.patch.dict(os.environ, dict(env or {}), clear=True):
        before = Path.cwd()
        os.chdir(directory)
        try:
            if dotenv is not None:
                Path(".env").write_bytes(dotenv if isinstance(dotenv, bytes) else dotenv.encode())
            if secrets is not None:
                Path("secrets").mkdir()
                for name, text in secrets.items():
                    Path("secrets", name).write_bytes(text if isinstance(text, bytes) else text.encode())
                code.setdefault("_secrets_dir", "secrets")
            return ToySettings(**code)
        finally:
            os.chdir(before)


def toy(env: Mapping[str, str] | None = None, **more: Any) -> Toy:
    """Return the toy section, which must be on."""
    section = settings(env, **more).toy
    assert section is not None
    return section


def problems(
    env: Mapping[str, str] | None = None,
    dotenv: str | bytes | None = None,
    secrets: Mapping[str, str | bytes] | None = None,
    **code: Any,
) -> tuple[Problem, ...]:
    """Return what is wrong with settings that are."""
    with pytest.raises(SettingsError) as caught:
        settings(env, dotenv, secrets, **code)
    return caught.value.problems


def problem(
    env: Mapping[str, str] | None = None,
    dotenv: str | bytes | None = None,
    secrets: Mapping[str, str | bytes] | None = None,
    **code: Any,
) -> Problem:
    """Return the only thing that is wrong."""
    found = problems(env, dotenv, secrets, **code)
    assert len(found) == 1, found
    return found[0]


def wrong(env: Mapping[str, str] | None = None, dotenv: str | None = None, **code: Any) -> tuple[Problem, ...]:
    """Return what is wrong with settings that may be right."""
    try:
        repr(settings(env, dotenv, **code))
    except SettingsError as error:
        str(error).encode()
        return error.problems
    return ()
