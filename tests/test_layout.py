"""The house rules of the source tree: who imports whom, who has a twin, who speaks ASGI, who grew too long."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

import secguard
from secguard.policy import Section
from secguard.settings import Settings

PACKAGE = Path(secguard.__file__).parent
ROOT = Path(__file__).parent.parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

# A room imports only from rooms above it. Events stand before policy, because a Context holds their sinks.
ROOMS = [
    "_memory", "_http", "_keys", "events", "policy", "guard", "store",
    "headers", "csp", "cookies", "cors", "hosts", "https", "proxies", "ip_access",
    "rate_limit", "csrf", "requests", "session", "reports", "disclosure",
    "settings", "fastapi", "testing", "cli", "__init__",
]  # fmt: skip
# The two imports that point down, made when they are needed: `Guard()` without settings reads them, and `protect()`
# serves FastAPI's documentation.
DEFERRED = {("guard", "settings"), ("guard", "fastapi")}

# What is only ever sent, or only concerns a server: a policy that watches `http.request` or `websocket.receive` may.
ASGI = re.compile(r"http\.response\.\w+|http\.disconnect|websocket\.(accept|close|http\.response\.\w+)|lifespan\.\w+")


def room_of(source: Path) -> str:
    """Return the room a source file belongs to: the module or package right under secguard."""
    first, *_ = source.relative_to(PACKAGE).parts
    return first.removesuffix(".py")


def place_of(room: str) -> int:
    """Return how far down a room stands; underscored ones that the list does not name stand right after _http."""
    if room not in ROOMS and room.startswith("_"):
        return ROOMS.index("_http") * 2 + 1
    assert room in ROOMS, f"{room} has no place in the order of rooms"
    return ROOMS.index(room) * 2


@cache
def tree_of(source: Path) -> ast.Module:
    return ast.parse(source.read_text())


def imported_rooms(source: Path) -> Iterator[str]:
    for node in ast.walk(tree_of(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{source.name} imports relatively, line {node.lineno}"
            here = node.module == "secguard"
            names = [f"secguard.{alias.name}" for alias in node.names] if here else [node.module or ""]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("secguard."))


def sections() -> list[str]:
    names = []
    for name, field in Settings.model_fields.items():
        candidates: tuple[Any, ...] = get_args(field.annotation) or (field.annotation,)
        if any(isinstance(candidate, type) and issubclass(candidate, Section) for candidate in candidates):
            names.append(name)
    return names


def label(source: Path) -> str:
    return source.relative_to(PACKAGE).as_posix()


def test_settings_has_sections() -> None:
    assert {"cors", "csrf", "headers", "hosts", "https", "ip_access", "proxies", "rate_limit", "requests"} <= set(
        sections()
    )


@pytest.mark.parametrize("section", sections())
def test_section_has_its_four_files(section: str) -> None:
    assert PACKAGE.joinpath(f"{section}.py").is_file() or PACKAGE.joinpath(section, "__init__.py").is_file()
    assert ROOT.joinpath(f"tests/test_{section}.py").is_file()
    assert ROOT.joinpath(f"docs/reference/{section}.md").is_file()


@pytest.mark.parametrize("source", SOURCES, ids=label)
def test_imports_point_upward(source: Path) -> None:
    room = room_of(source)
    below = {
        imported
        for imported in imported_rooms(source)
        if place_of(imported) > place_of(room) and (room, imported) not in DEFERRED
    }
    assert not below, f"{room} imports {', '.join(sorted(below))}, from further down"


def test_deferred_imports_stand_in_functions() -> None:
    at_the_top = {
        (room_of(source), imported)
        for source in SOURCES
        for node in tree_of(source).body
        if isinstance(node, ast.ImportFrom) and node.module
        for imported in node.module.split(".")[1:2]
    }
    assert not at_the_top & DEFERRED


@pytest.mark.parametrize("source", SOURCES, ids=label)
def test_no_file_is_two_rooms(source: Path) -> None:
    assert len(source.read_text().splitlines()) <= 300


@pytest.mark.parametrize("source", [source for source in SOURCES if room_of(source) != "guard"], ids=label)
def test_only_the_guard_speaks_asgi(source: Path) -> None:
    spoken = [
        node.value
        for node in ast.walk(tree_of(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ASGI.fullmatch(node.value)
    ]
    assert spoken == []


def test_package_says_that_it_is_typed() -> None:
    assert PACKAGE.joinpath("py.typed").is_file()
