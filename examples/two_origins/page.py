"""The page: it has an origin of its own, and its policy names the one it talks to."""

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from secguard import Settings, protect

HERE = Path(__file__).parent
API = os.environ.get("API_ORIGIN", "http://localhost:8000")
SOCKET = API.replace("http", "ws", 1)


async def page(request: Request) -> HTMLResponse:
    return HTMLResponse(HERE.joinpath("page.html").read_text().replace("{api}", API))


app = protect(
    Starlette(routes=[Route("/", page), Mount("/static", StaticFiles(directory=HERE / "static"))]),
    Settings(
        csp={
            "directives": {
                "connect_src": ["'self'", API, SOCKET],
                "img_src": ["'self'", API],
                "form_action": ["'self'", API],
            }
        }
    ),
)
