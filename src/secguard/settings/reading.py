"""From variables and keywords to one tree of values, each leaf with its origin."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings

from secguard.policy import Profile, Section
from secguard.settings.entries import Entries, Entry, dotted, is_set, leaves, spread
from secguard.settings.errors import Mistake, Problem, shown, smells_secret
from secguard.settings.names import Path, locate, nearest_field, shape_at, unknown
from secguard.settings.shape import ANYTHING, EMPTY, Shape, read
from secguard.settings.sources import Files, Layer, Origin, Sources, Variable


class Readable(BaseSettings):
    """What the reading needs of Settings."""

    in_development: ClassVar[Mapping[str, Any]] = {}


class Reading:
    """Everything that was written, merged: the strongest entry of each leaf, and what was wrong on the way.

    `leaves` holds the entries that count; `inner` every path that has a leaf below it, or is only said to be on.
    `failed` holds the paths of which nothing could be read: what else is wrong there follows from it.
    """

    def __init__(
        self, model: type[Readable], code: Mapping[str, object], env_file: Files | None, secrets_dir: Files | None
    ) -> None:
        self.root = Shape(models=(model,))
        self.leaves: dict[Path, Entry] = {}
        self.inner: dict[Path, Entry] = {}
        self.failed: set[Path] = set()
        self.errors: list[ErrorDetails] = []
        self.shadowed: dict[str, tuple[Origin, ...]] = {}
        self._assumed: dict[Path, Origin] = {}

        sources = Sources(model, env_file, secrets_dir)
        self.problems = sources.problems
        layers = [self._variables(layer) for layer in sources.layers]
        own = self._keywords(code)
        for layer in (own, *layers):
            self._tell_twice(layer)
        for entry in (*own, *self._without_off_and_set([entry for layer in layers for entry in layer])):
            self._place(entry)
        self._assume(model)

    def tree(self) -> dict[str, Any]:
        """Return the values, nested as pydantic takes them."""
        spelling: dict[Path, Hashable] = {}
        entries = [*self.leaves.values(), *(entry for path, entry in self.inner.items() if entry.path == path)]
        for entry in entries:
            for end, name in enumerate(entry.given(), 1):
                spelling.setdefault(entry.path[:end], name)
        tree: dict[Any, Any] = {}
        for entry in entries:
            at = tree
            for end in range(1, len(entry.path)):
                at = at.setdefault(spelling[entry.path[:end]], {})
            if entry.value is EMPTY:
                at.setdefault(spelling[entry.path], {})
            else:
                at[spelling[entry.path]] = entry.value
        return tree

    def origins(self, settings: BaseModel) -> dict[str, Origin]:
        """Return the origin of every leaf of the finished settings."""
        return {dotted(path): self._origin(path) for path in leaves((), settings)}

    def below(self, path: Path) -> Entries:
        """Return what somebody wrote below `path`; profiles are nobody."""
        return [
            entry
            for entry in self.leaves.values()
            if entry.path[: len(path)] == path and entry.origin.kind not in {"profile", "development"}
        ]

    def above(self, path: Path) -> Entry | None:
        """Return the entry of `path`, or that of which `path` is a part."""
        ends = range(len(path), 0, -1)
        return next((self.leaves[path[:end]] for end in ends if path[:end] in self.leaves), None)

    def follows(self, path: Path) -> bool:
        """Whether an error at `path` may only follow from another mistake that has been told."""
        return path not in self.leaves and any(
            path == failed[: len(path)] or failed == path[: len(failed)] for failed in self.failed
        )

    def _variables(self, layer: Layer) -> Entries:
        entries: Entries = []
        for variable in layer:
            path = locate(variable.name, self.root)
            if path is None:
                self.problems.append(unknown(variable, self.root))
                continue
            shape = shape_at(path, self.root) or ANYTHING
            try:
                value = read(variable.written, shape, variable.name.upper())
            except Mistake as mistake:
                self.failed.add(path)
                self.problems.append(self._mistake(variable, shape, mistake))
            else:
                entries += spread(path, path, value, shape, variable.origin, (path, variable.written))
        return entries

    def _mistake(self, variable: Variable, shape: Shape, mistake: Mistake) -> Problem:
        secret = variable.origin.kind == "secrets" or smells_secret(variable.name)
        if variable.written.lstrip()[:1] in {"{", "["} or not shape.models:
            secret = secret or shape.hides() or (mistake.code == "bad-json" and smells_secret(variable.written))
        return Problem(mistake.code, str(variable.origin), shown(variable.written, secret), mistake.message)

    def _keywords(self, code: Mapping[str, object]) -> Entries:
        entries: Entries = []
        for name, value in code.items():
            shape = self.root.below(name)
            if shape is None:
                meant = nearest_field(name, self.root)
                told = shown(value, smells_secret(name) or smells_secret(meant))
                message = f"There is no such field. {meant}"
                self.problems.append(Problem("unknown-field", f"Settings({name}=...)", told, message))
            else:
                entries += spread((name,), (name,), value, shape)
        return entries

    def _tell_twice(self, layer: Entries) -> None:
        """Find leaves that two of one layer set: names that differ in case, or a JSON section beside a variable."""
        seen: dict[Path, Entry] = {}
        for entry in layer:
            first = seen.setdefault(entry.path, entry)
            if first is not entry:
                where = f"{first.origin} and {entry.origin}"
                message = f"Both set {dotted(entry.path)}. Keep one of them."
                self.problems.append(Problem("set-twice", where, None, message))

    def _without_off_and_set(self, entries: Entries) -> Entries:
        """Find what one variable switches off while another sets a part of it, wherever the two stand."""
        kept = entries
        for off in entries:
            below = [
                entry
                for entry in entries
                if off.value is None
                and len(entry.path) > len(off.path) == len(off.whole)
                and entry.path[: len(off.path)] == off.path
                and entry.whole != off.whole
            ]
            if below:
                names = ", ".join(dict.fromkeys(str(entry.origin) for entry in below))
                message = f"It switches off what {names} sets. Take one or the other away."
                self.problems.append(Problem("off-and-set", str(off.origin), shown(off.written), message))
                kept = [entry for entry in kept if entry is not off]
        return kept

    def _place(self, entry: Entry) -> None:
        """Keep the entry, unless a stronger one, which came before, stands at, above or below its path."""
        stronger = self.above(entry.path)
        if stronger is None and entry.value is not EMPTY:
            stronger = self.inner.get(entry.path)
        if stronger is None:
            for end in range(len(entry.path) + (entry.value is EMPTY)):
                self.inner.setdefault(entry.path[:end], entry)
            if entry.value is not EMPTY:
                self.leaves[entry.path] = entry
        elif stronger.origin.kind == "code" and entry.origin.kind not in {"code", "profile", "development"}:
            place = dotted(stronger.path if len(stronger.path) < len(entry.path) else entry.path)
            known = self.shadowed.get(place, ())
            self.shadowed[place] = known if entry.origin in known else (*known, entry.origin)

    def _assume(self, model: type[Readable]) -> None:
        """Lay what the development environment and the profile set by themselves under what was written."""
        if self._value(model, "environment") == "development":
            origin = Origin("development")
            for name, value in model.in_development.items():
                shape = self.root.below(name) or ANYTHING
                for entry in spread((name,), (name,), value, shape, origin):
                    self._place(entry)
        profile = cast("Profile", self._value(model, "profile"))  # what else it may be is in no section's mapping
        for name, shape in self.root.fields().items():
            sections = [own for own in shape.models if issubclass(own, Section)]
            overlay = sections[0].profiles.get(profile) if sections and isinstance(profile, str) else None
            value = self._value(model, name) if overlay else None
            if value is None:
                continue
            below = list(spread((name,), (name,), overlay, shape, Origin("profile", profile)))
            if isinstance(value, Section) and (name,) in self.leaves:
                self._lay_under(self.leaves[name,], value, profile, below)
            for entry in below:
                self._place(entry)

    def _value(self, model: type[Readable], name: str) -> object:
        """Return what a field will hold, as far as it can be told before it is validated."""
        if (name,) in self.leaves:
            return self.leaves[name,].value
        return EMPTY if (name,) in self.inner else model.model_fields[name].get_default(call_default_factory=True)

    def _lay_under(self, entry: Entry, section: Section, profile: Profile, below: Entries) -> None:
        try:
            self.leaves[entry.path] = replace(entry, value=section.under(profile))
        except ValidationError as error:
            self.errors += [{**told, "loc": (str(entry.path[0]), *told["loc"])} for told in error.errors()]
        self._assumed.update(
            {laid.path: laid.origin for laid in below if not is_set(section, laid.path[len(entry.path) :])}
        )

    def _origin(self, path: Path) -> Origin:
        entry = self.above(path) or self.inner.get(path)
        if path in self._assumed:
            return self._assumed[path]
        if entry is None or not is_set(entry.value, path[len(entry.path) :]):
            return Origin("default")
        return entry.origin
