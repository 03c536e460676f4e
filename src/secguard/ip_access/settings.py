"""The `ip_access` section."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from secguard._networks import check_network, check_once
from secguard._paths import PathPattern
from secguard.ip_access.lists import NetworkFile, NetworkList, UnreadableError
from secguard.policy import RefusingSection, Section
from secguard.policy.section import COMMAS, Several


def _check_entry(entry: object) -> str | NetworkList:
    return entry if isinstance(entry, NetworkList) else check_network(str(entry))


def _read_file(path: object) -> NetworkFile:
    if isinstance(path, NetworkFile):
        return path
    try:
        return NetworkFile.read(os.fsdecode(path))  # type: ignore[arg-type]  # it says so itself
    except UnreadableError as error:
        problem = str(error)
    except TypeError:
        problem = f"{path!r} is no path"
    raise PydanticCustomError("network-file", "{problem}", {"problem": problem})


def _number(value: object) -> object:
    """Read the number that a variable holds as text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


_AS_TEXT: Final = PlainSerializer(str, when_used="json")
Entry: TypeAlias = str | NetworkList
File: TypeAlias = str | os.PathLike[str] | NetworkFile
_Entry = Annotated[Entry, PlainValidator(_check_entry), _AS_TEXT]
_File = Annotated[File, PlainValidator(_read_file), _AS_TEXT]


class IPAccessFields(Section):
    """Who may come in, and who may not: for the whole app, or under a rule."""

    allow: Annotated[Several[_Entry], COMMAS] = ()
    """Networks (CIDR) and addresses that may come in. In code also a `NetworkList`."""
    deny: Annotated[Several[_Entry], COMMAS] = ()
    """Those that may not, whoever lets them in."""
    allow_files: Annotated[Several[_File], COMMAS] = ()
    """Files with one network a line, `#` before a comment, that are added to `allow`. Read again when they change."""
    deny_files: Annotated[Several[_File], COMMAS] = ()
    """Files that are added to `deny`."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for field in ("allow", "deny", "allow_files", "deny_files"):
            check_once(field, _texts(getattr(self, field)))
        for allowed, denied in ((self.allow, self.deny), (self.allow_files, self.deny_files)):
            both = [entry for entry in allowed if entry in denied]
            if both:
                raise PydanticCustomError(
                    "ip-access-both",
                    "{entry} may come in and may not: deny wins, so take it out of one of them",
                    {"entry": str(both[0])},
                )
        return self

    @property
    def selects(self) -> bool:
        """Whether it says who may come in: everybody else may not, then."""
        return bool(self.allow or self.allow_files)

    @property
    def files(self) -> list[NetworkFile]:
        """The files of both kinds, as they were read."""
        return [file for file in (*self.allow_files, *self.deny_files) if isinstance(file, NetworkFile)]

    @property
    def is_live(self) -> bool:
        """Whether code can change it while the app runs."""
        return any(isinstance(entry, NetworkList) for entry in (*self.allow, *self.deny))

    @property
    def denies(self) -> bool:
        """Whether it says who may not."""
        return bool(self.deny or self.deny_files)


def _texts(entries: Iterable[object]) -> list[str]:
    return [str(entry) for entry in entries if not isinstance(entry, NetworkList)]


class IPAccessRule(IPAccessFields):
    """Who may come in under some paths: those in its lists, and nobody where it has none.

    Raises:
        ValidationError: see `IPAccessSettings`; it has no path, or one that is no pattern (`path-pattern`).

    Example:
        >>> IPAccessRule(paths=["/admin"], allow=["10.0.0.0/8"]).allow
        ('10.0.0.0/8',)
    """

    paths: Annotated[Several[PathPattern], COMMAS, Field(min_length=1)]
    """Path patterns, compared with every path that the request may be served as."""

    @model_validator(mode="after")
    def _denies_in_vain(self) -> Self:
        if self.denies and not self.selects:
            raise PydanticCustomError(
                "ip-access-rule",
                "the rule for {paths} denies some and allows nobody, so that nobody may come in: write who may in "
                "allow, which is 0.0.0.0/0 and ::/0 for everybody else",
                {"paths": ", ".join(self.paths)},
            )
        return self


class IPAccessSettings(IPAccessFields, RefusingSection):
    """Which addresses may come in, everywhere and by path.

    Raises:
        ValidationError: an entry is no address or network (`cidr-malformed`, `cidr-host-bits`), stands there twice
            (`cidr-twice`) or is both allowed and denied (`ip-access-both`); a file cannot be read, or has such a line
            (`network-file`); a rule denies in vain (`ip-access-rule`); or nobody would be refused (`ip-access-idle`).

    Example:
        >>> office = IPAccessRule(paths=["/admin"], allow=["10.0.0.0/8", "2001:db8::/32"])
        >>> IPAccessSettings(rules=[office], refusal=404).refusal
        404
    """

    rules: Several[IPAccessRule] = ()
    """Who may come in by path. The most specific rule decides alone, in the place of `allow`; every `deny` holds on."""
    refusal: Annotated[Literal[403, 404], BeforeValidator(_number)] = 403
    """The status of a refusal. 404 answers as the app does where it finds nothing, and so hides what is there."""
    allow_unknown_clients: bool = False
    """Let in whoever has no address, as on a unix socket: then no list holds for anybody who comes that way."""

    @model_validator(mode="after")
    def _refuses_somebody(self) -> Self:
        if not (self.selects or self.denies or self.rules):
            raise PydanticCustomError(
                "ip-access-idle",
                "nobody would be refused: set allow, deny or rules, such as SECGUARD_IP_ACCESS__DENY=192.0.2.0/24, or "
                "leave the section off",
            )
        return self
