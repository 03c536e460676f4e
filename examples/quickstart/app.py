"""A small app, hardened by the last line."""

from pathlib import Path

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from secguard import protect

HERE = Path(__file__).parent

app = FastAPI(title="secguard quickstart", docs_url=None, redoc_url=None)
app.mount("/static", StaticFiles(directory=HERE / "static"))


@app.get("/", include_in_schema=False)
def page() -> FileResponse:
    return FileResponse(HERE / "index.html")


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
