"""A public page, and an administrative area for those networks that SECGUARD_IP_ACCESS__RULES names."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from secguard import Settings, protect


def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse("Welcome. This page is for everybody.\n")


def overview(request: Request) -> PlainTextResponse:
    return PlainTextResponse("The administrative area.\n")


def user(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"The account of {request.path_params['name']}.\n")


async def live(socket: WebSocket) -> None:
    """Tell who is signed in, for as long as somebody listens."""
    await socket.accept()
    await socket.send_text("ada, grace")
    await socket.close()


def missing(request: Request, error: Exception) -> PlainTextResponse:
    return PlainTextResponse("There is no such page.\n", 404)


def build(settings: Settings | None = None) -> Starlette:
    """Make the app; without settings, from the environment. It does not start where the area would be open to all."""
    settings = settings or Settings()
    if settings.ip_access is None:
        raise RuntimeError("set SECGUARD_IP_ACCESS__RULES: without it, /admin would be open to everybody")
    area = [Route("/", overview), Route("/users/{name}", user), WebSocketRoute("/live", live)]
    app = Starlette(routes=[Route("/", home), Mount("/admin", routes=area)], exception_handlers={404: missing})
    return protect(app, settings)
