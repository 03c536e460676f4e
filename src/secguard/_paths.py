"""Path patterns, and which paths of a request they are compared with.

1. A pattern is made of whole segments: `/admin` is `/admin` and `/admin/…`, never `/administrator`.
2. `{name}` or `*` stands for exactly one segment, whatever it holds.
3. A *refusing* rule looks at every path the request may turn out to have: with and without the root path, the
   server's and the app's. An *exemption* looks only at the path as it will be routed, and holds for none where
   frameworks would disagree about that. Each errs to the safe side.
4. What is compared is `scope["path"]`, percent-decoded once by the server, never a URL rebuilt from the Host header.
5. Of several rules that hold, the one with the most specific pattern has the last word; what else a rule is for does
   not count. Of rules that are as specific as each other, the one that was written last has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from secguard._memory import Memo

_SEGMENT: Final = re.compile(r"\*|\{[A-Za-z_][A-Za-z0-9_]*\}|[^/{}*]+")
_DOTS: Final = frozenset({".", ".."})


def check_pattern(pattern: str) -> str:
    """Return the pattern without its trailing slash, or raise the start-up error that says what is wrong with it."""
    problem = ""
    segments = pattern.strip("/").split("/") if pattern.strip("/") else []
    if not pattern.startswith("/"):
        problem = "a path pattern begins with one slash"
    elif "//" in pattern:
        problem = "a path pattern has no empty segment"
    elif "%" in pattern or "?" in pattern or "#" in pattern:
        problem = "a path pattern is percent-decoded and has no query"
    elif not all(_SEGMENT.fullmatch(segment) for segment in segments):
        problem = "a segment is literal, {name} or *, never a mixture"
    elif not _DOTS.isdisjoint(segments):
        problem = "a path pattern has no dot segments, and no request that reaches it does"
    if problem:
        raise PydanticCustomError(
            "path-pattern", "{problem}; write it like /admin or /users/{id}/keys", {"problem": problem}
        )
    return pattern.rstrip("/") or "/"


PathPattern: TypeAlias = Annotated[str, AfterValidator(check_pattern)]

Matched: TypeAlias = tuple[int, ...]
"""Which rules hold, by their place in the section: the last has the last word."""


def specificity(pattern: str) -> tuple[int, int]:
    """Rank a pattern: the more literal segments the more specific, then the more segments at all."""
    segments = [segment for segment in pattern.split("/") if segment]
    return sum(segment[0] not in "*{" for segment in segments), len(segments)


class PathRules:
    """Several groups of path patterns, ranked and compiled once. `match` says which groups hold for a path.

    Example:
        >>> rules = PathRules([["/users/{id}/keys"], ["/users", "/admin/keys/new"]])
        >>> rules.match(["/users/7/keys/2"])
        (1, 0)
    """

    __slots__ = ("_known", "_strongest_first")

    def __init__(self, groups: Iterable[Sequence[str]]) -> None:
        ranked = sorted(
            ((specificity(pattern), at, expression(pattern)) for at, group in enumerate(groups) for pattern in group),
            reverse=True,
        )
        # Patterns of one group that rank alike are tried in one go.
        self._strongest_first = tuple(
            (at, re.compile("|".join(written for *_, written in alike)).match)
            for (_, at), alike in groupby(ranked, key=itemgetter(0, 1))
        )
        self._known = Memo[str, Matched](self._search_one, most=1024, longest=256)

    def __bool__(self) -> bool:
        return bool(self._strongest_first)

    def match(self, paths: Iterable[str]) -> Matched:
        """Return the indices of the groups that hold for any of `paths`: the last has the last word."""
        paths = tuple(paths)
        return self._known[paths[0]] if len(paths) == 1 else self._search(paths)

    def _search_one(self, path: str) -> Matched:
        return self._search((path,))

    def _search(self, paths: tuple[str, ...]) -> Matched:
        held: list[int] = []
        for at, match in self._strongest_first:
            if at not in held and any(map(match, paths)):
                held.append(at)
        return tuple(held[::-1])


def expression(pattern: str) -> str:
    """Return the regular expression of a pattern: that of `/users/{id}` and that of `/users/*` are the same."""
    # `\Z`, not `$`: `$` also matches before a final newline.
    segments = [segment for segment in pattern.split("/") if segment]
    return "".join("/[^/]+" if segment[0] in "*{" else "/" + re.escape(segment) for segment in segments) + r"(?:/|\Z)"


def routed_path(path: str, root_path: str) -> str:
    """Return the path that the framework will route: `path` without `root_path`, where it stands in front."""
    root_path = root_path.rstrip("/")
    if root_path and (path == root_path or path.startswith(root_path + "/")):
        return path[len(root_path) :] or "/"
    return path


def routings(path: str, root_path: str) -> tuple[str, ...]:
    """Return what frameworks make of `path`: one path, or several where they disagree about the root path.

    Starlette, FastAPI and Django cut whole segments off the front. Quart cuts the bare prefix and Litestar cuts at its
    first occurrence, wherever that is; both then put a slash in front again.
    """
    root = root_path.rstrip("/")
    if not root:
        return (path,)
    return tuple(dict.fromkeys((routed_path(path, root), "/" + path.split(root, 1)[-1].lstrip("/"))))


def possible_paths(path: str, root_paths: Iterable[str]) -> tuple[str, ...]:
    """Return every path that a request for `path` may be served as, given the root paths in play."""
    paths = [path]
    for root_path in root_paths:
        if root := root_path.rstrip("/"):
            for known in tuple(paths):
                paths += [*routings(known, root), root + known]
    return tuple(dict.fromkeys(paths))
