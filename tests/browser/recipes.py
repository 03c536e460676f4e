"""The how-to pages, read for what they tell people to write, and a small web in which that is tried.

A recipe is a section of a page. What it says in its fenced blocks is what the test uses, so that the two cannot drift:

- `html`: the page. A section that has two shows the wrong one first; one that has none means the page's first.
- `text`: what the browser's console says without the recipe, with … for what differs from time to time. A section
  that has none means the last one above it.
- `python`: a variable `settings`, or an endpoint, which finds the page by the name of its template.
- `ini`: the same settings as variables.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2
import trustme
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates
from starlette.types import ASGIApp, Receive, Scope, Send

from secguard import Guard, Settings
from tests.browser.elsewhere import answer_to
from tests.serving import LOOPBACK, ROOT
from tests.test_docs import Block, blocks

if TYPE_CHECKING:
    from playwright.sync_api import Page

BOTH = ("web", "strict")
OURS = "shop.example"
SHELL = "<!doctype html><html lang=en><title>-</title><body>"


@dataclass(frozen=True)
class Recipe:
    """What one section of a page says."""

    before: str
    """The page that does not work."""
    after: str
    """The page that works."""
    seen: tuple[str, ...]
    """What the console says of that one."""
    code: tuple[Block, ...]
    """The python blocks of the page, down to the end of the section."""
    sets: bool
    """Whether the section has settings of its own."""
    variables: str
    """The same settings as lines of a `.env` file."""

    def names(self) -> dict[str, Any]:
        """Run the code, and return what it defines."""
        namespace: dict[str, Any] = {"__name__": "__docs__"}
        for block in self.code:
            exec(compile(block.code, "<recipe>", "exec"), namespace)  # noqa: S102 - the point of these tests
        return namespace


def recipe(page: str, heading: str) -> Recipe:
    """Read the section of docs/how-to/`page`.md under this heading."""
    path = ROOT / f"docs/how-to/{page}.md"
    lines = path.read_text().splitlines()
    start = lines.index(f"## {heading}") + 1
    end = next((at for at, line in enumerate(lines[start:], start) if line.startswith("## ")), len(lines))
    every = list(blocks(path))
    own = [block for block in every if start <= block.line <= end]

    def written(language: str) -> list[str]:
        return [block.code for block in own if block.language == language]

    first = next(block.code for block in every if block.language == "html")
    console = written("text") or [block.code for block in every if block.language == "text" and block.line < start][-1:]
    right = (written("html") or [first])[-1]
    wrong = right if written("python") and len(written("html")) < 2 else (written("html")[:-1] or [first])[0]
    return Recipe(
        before=wrong,
        after=right,
        seen=tuple("".join(console).splitlines()),
        code=tuple(block for block in every if block.language == "python" and block.line <= end),
        sets=any(re.search(r"^settings = ", code, re.MULTILINE) for code in written("python")),
        variables="".join(written("ini")),
    )


class Row(NamedTuple):
    """A section of a page, under which profiles it is tried, and how to see that it works."""

    page: str
    heading: str
    profiles: tuple[str, ...] = BOTH
    path: str = "/"
    click: bool = False
    endpoint: str = ""
    silent: bool = False

    title: str = ""
    element: str = ""
    hidden: str = ""
    teal: str = ""

    def look(self, page: Page, patience: float | None = None) -> None:
        """Assert that it works. Not with wait_for_function: Playwright evaluates text there, which policies refuse."""
        from playwright.sync_api import expect

        if self.title:
            expect(page).to_have_title(self.title, timeout=patience)
        if self.element:
            expect(page.locator(self.element)).to_be_attached(timeout=patience)
        if self.hidden:
            expect(page.locator(self.hidden)).to_be_hidden(timeout=patience)
        if self.teal:
            expect(page.locator(self.teal)).to_have_css("color", "rgb(0, 128, 128)", timeout=patience)


@dataclass
class Web:
    """Every site under `.example`, on one port of loopback: ours behind a Guard, and the others as they are."""

    port: int
    ours: ASGIApp | None = None

    def publish(self, html: str, settings: Settings, names: dict[str, Any] | None = None, endpoint: str = "") -> None:
        """Let our site answer with this page, at every address that has no answer of its own."""
        loader = jinja2.FunctionLoader(lambda _: SHELL + html)
        templates = Jinja2Templates(env=jinja2.Environment(loader=loader, autoescape=True))

        async def page(request: Request) -> Response:
            return answer_to(request.url) or templates.TemplateResponse(request, "page.html")

        routes = [Route("/{path:path}", page, methods=["GET", "POST"])]
        if names and endpoint:
            names["templates"] = templates
            routes.insert(0, Route("/", names[endpoint]))
        self.ours = Guard(Starlette(routes=routes), settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the site whose name the request bears."""
        request = Request(scope)
        if request.url.hostname == OURS and self.ours:
            return await self.ours(scope, receive, send)
        return await (answer_to(request.url) or Response(status_code=404))(scope, receive, send)


@contextmanager
def serving(folder: Path) -> Iterator[Web]:
    """Serve the small web over TLS."""
    pem = folder / "example.pem"
    trustme.CA().issue_cert(OURS).private_key_and_cert_chain_pem.write_to_path(str(pem))
    web = Web(port=0)
    config = uvicorn.Config(web, host=LOOPBACK, port=0, ssl_certfile=pem, lifespan="off", ws="none", log_level="error")
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    web.port = listener.getsockname()[1]
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield web
    finally:
        server.should_exit = True
        thread.join()


def heard(told: str, complaints: Iterable[str]) -> bool:
    """Whether the browser has said this, apart from what … stands for."""
    pattern = ".*".join(re.escape(piece.strip()) for piece in told.split("…"))
    return any(re.search(pattern, said, re.DOTALL) for said in complaints)
