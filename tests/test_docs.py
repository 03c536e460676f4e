"""README.md and docs/ keep their word: code runs, links lead somewhere, and the name to install is ours."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from secguard import Guard, Settings
from secguard.policy import Profile

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")])

FENCE = re.compile(
    r"(?:<!-- skip: (?P<reason>\S[^\n]*?) -->\n+)?^(?P<tick>```+)(?P<language>[^\n]*)\n(?P<code>.*?)^(?P=tick)\s*$",
    re.DOTALL | re.MULTILINE,
)
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)[^)]*\)")
SOMEBODY_ELSES = re.compile(r"\b(?:install|add|download|uvx?)[ \t]+(?:-\S+[ \t]+)*[\"']?secguard(?![-\w])")


@dataclass(frozen=True)
class Block:
    """A fenced block: its first line in the page, its language, its code, and why it is not run."""

    line: int
    language: str
    code: str
    skip: str | None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start("code"))
        yield Block(line, fence["language"].strip(), fence["code"], fence["reason"])


def prose(page: Path) -> str:
    """Return the page without its fenced blocks and code spans, where brackets are not links."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the documentation's builder makes them, and those set by hand."""
    text = FENCE.sub("", page.read_text())
    by_hand = set(re.findall(r"\{\s*#([\w.-]+)\s*\}", text)) | set(re.findall(r"<a id=\"([^\"]+)\"", text))
    titles = re.findall(r"^#+ +(.*?)\s*(?:\{[^}]*\})?$", text, re.MULTILINE)
    return by_hand | {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


def leaves(contents: Any) -> Iterator[str]:
    """Yield the pages of a table of contents."""
    if isinstance(contents, str):
        yield contents
    else:
        for part in contents.values() if isinstance(contents, dict) else contents:
            yield from leaves(part)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


RUNNABLE = [page for page in PAGES if any(block.language == "python" for block in blocks(page))]


@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__docs__"}
    for block in blocks(page):
        if block.language == "python" and not block.skip:
            code = compile("\n" * block.line + block.code, str(page), "exec")
            exec(code, namespace)  # noqa: S102 - the point of this test


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_fences_name_their_language(page: Path) -> None:
    known = {"python", "console", "http", "text", "toml", "ini", "json", "html", "nginx", "yaml"}
    assert {block.language for block in blocks(page)} <= known


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_internal_links_lead_somewhere(page: Path) -> None:
    dead = []
    for target in (link["target"] for link in LINK.finditer(prose(page))):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_documentation_links_stay_in_it(page: Path) -> None:
    if page.is_relative_to(ROOT / "docs"):
        targets = [link["target"].partition("#")[0] for link in LINK.finditer(prose(page))]
        outside = [target for target in targets if target.startswith("..") and not _inside(page, target)]
        assert outside == []


def _inside(page: Path, target: str) -> bool:
    return (page.parent / target).resolve().is_relative_to(ROOT / "docs")


def test_contents_name_every_page_once() -> None:
    written = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.is_relative_to(ROOT / "docs")}
    contents = tomllib.loads(ROOT.joinpath("zensical.toml").read_text())["project"]["nav"]
    assert sorted(leaves(contents)) == sorted(written)


@pytest.mark.parametrize("profile", ["web", "strict", "api"])
def test_threat_model_has_a_row_for_everything_that_is_sent(profile: Profile) -> None:
    page = ROOT.joinpath("docs/explanation/threat-model.md").read_text()
    rows = {row.lower() for row in re.findall(r"^\| `([\w-]+)`", page, re.MULTILINE)}
    app = Guard(PlainTextResponse(), Settings(profile=profile))
    sent = dict(TestClient(app, base_url="https://example.com").get("/").headers)
    policy = sent.pop("content-security-policy")
    directives = {directive.split()[0] for directive in policy.split("; ")}
    assert (sent.keys() | directives) - rows == {"content-length", "content-type"}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_nobody_is_told_to_install_the_package_of_somebody_else(page: Path) -> None:
    assert SOMEBODY_ELSES.findall(page.read_text()) == []


@pytest.mark.parametrize(
    "told",
    ["pip install secguard", "pip install -U secguard[all]", "uv add secguard\n", "pip install 'secguard[all]'"],
)
def test_the_search_for_that_finds_it(told: str) -> None:
    assert SOMEBODY_ELSES.search(told)


def test_the_search_for_that_knows_our_name() -> None:
    assert not SOMEBODY_ELSES.search("pip install secguard-asgi")
