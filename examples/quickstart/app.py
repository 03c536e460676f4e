"""A small app, hardened by the last line."""

from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from markupsafe import Markup

from secguard import protect

HERE = Path(__file__).parent

app = FastAPI(title="secguard quickstart")
app.mount("/static", StaticFiles(directory=HERE / "static"))
templates = Jinja2Templates(HERE / "templates")


@app.get("/", include_in_schema=False)
def page(request: Request) -> HTMLResponse:
    return templates.TemplateResponse(request, "index.html")


@app.get("/csp", include_in_schema=False)
def target(request: Request) -> HTMLResponse:
    """Show a page with an inline script of its own, and a form to attack it with."""
    return templates.TemplateResponse(request, "csp.html")


@app.get("/csp/deliberately-vulnerable", include_in_schema=False)
def deliberately_vulnerable(request: Request, said: Annotated[str, Query(max_length=1000)] = "") -> HTMLResponse:
    """Repeat what the visitor sends, unescaped, so that only the policy stands behind it. Never copy this."""
    return templates.TemplateResponse(request, "csp.html", {"said": Markup(said)})  # noqa: S704


@app.get("/api/request")
def seen(request: Request) -> dict[str, str]:
    """Tell how the app saw this request."""
    return {
        "method": request.method,
        "scheme": request.url.scheme,
        "host": request.headers["host"],
        "path": request.scope["path"],
        "client": request.client.host if request.client else "unknown",
    }


@app.websocket("/ws/echo")
async def echo(socket: WebSocket) -> None:
    """Send back every text message."""
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


protect(app)
