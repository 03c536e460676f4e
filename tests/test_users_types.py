"""Sections as the documentation writes them are right to a strict type checker without a plugin, as users have it."""

from __future__ import annotations

import ast
import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import secguard
from secguard.policy import Section
from tests.test_docs import PAGES, blocks, name

PACKAGE = Path(secguard.__file__).parent

BY_HAND = """
def reading_gives_a_sequence() -> Sequence[str]:
    return HostsSettings(allowed=("example.com",)).allowed

def a_text_is_read_where_commas_or_one_source_are() -> Sequence[str] | None:
    return Directives(img_src="data:", report_uri="/csp").img_src or HttpsSettings(exempt_paths="/a, /b").exempt_paths

def permissions_may_be_told_in_either_way() -> HeadersSettings:
    return HeadersSettings(permissions_policy={"camera": "self", "usb": ["self", "*"], "midi": None}, remove=["Server"])

def mistakes_are_seen() -> None:
    HostsSettings(allowed=1)  # wrong
    HostsSettings(alowed=["example.com"])  # wrong
    HeadersSettings(frame_options="ALLOW")  # wrong
    Directives(img_src=[1])  # wrong
"""


def sections(of: type[Section] = Section) -> Iterator[type[Section]]:
    for section in of.__subclasses__():
        if section.__module__.startswith("secguard."):
            yield section
            yield from sections(section)


SECTIONS = {section.__name__: section.__module__ for section in sections()}


def makes_section(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SECTIONS


def made(node: ast.AST) -> Iterator[str]:
    """Yield the code that makes sections: with the name it gets, as far as the example gives it one."""
    if makes_section(node) or (isinstance(node, ast.Assign) and makes_section(node.value)):
        yield ast.unparse(node)
    else:
        for inner in ast.iter_child_nodes(node):
            yield from made(inner)


def examples() -> Iterator[tuple[str, str]]:
    """Yield the code of each page, and that of each docstring, with where it stands."""
    for page in PAGES:
        yield name(page), "\n".join(block.code for block in blocks(page) if block.language == "python")
    for source in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
                told = doctest.DocTestParser().get_examples(ast.get_docstring(node) or "")
                yield f"{source.name} {getattr(node, 'name', '')}", "".join(example.source for example in told)


def program() -> tuple[str, int]:
    """Return a program that makes every section that the documentation makes, and how many pages and docstrings do."""
    lines = ["from collections.abc import Sequence", "from secguard.csp.words import *"]
    lines += [f"from {module} import {section}" for section, module in SECTIONS.items()]
    written = [(where, code) for where, text in examples() if (code := list(made(ast.parse(text))))]
    for at, (where, code) in enumerate(written):
        lines += [f"def example_{at}() -> None:", *(f"    {line}  # {where}" for line in code)]
    return "\n".join(lines) + BY_HAND, len(written)


def test_the_sections_of_the_documentation_pass_a_strict_type_checker_without_a_plugin(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed: `make types` installs it, and runs this")
    text, count = program()
    assert count > 15
    tmp_path.joinpath("mypy.ini").write_text("[mypy]\nstrict = true\nfollow_imports = silent\n")
    tmp_path.joinpath("users.py").write_text(text)
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", "cache", "users.py"],
        env={**os.environ, "MYPYPATH": str(PACKAGE.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    told = {int(line) for line in re.findall(r"^users\.py:(\d+): error:", ran.stdout, re.MULTILINE)}
    wrong = {at for at, line in enumerate(text.splitlines(), 1) if line.endswith("# wrong")}
    assert told == wrong, ran.stdout + ran.stderr
