"""Two sites for the browser to visit: one of ours, with something of every kind, and a stranger's."""

from base64 import b64decode
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from secguard import protect

PAGE = """<!doctype html>
<html lang="en">
<title>site</title>
<link rel="icon" href="/dot.svg">
<link rel="manifest" href="/site.webmanifest">
<link rel="stylesheet" href="/own.css">
<style nonce="{nonce}">body {{ background: rgb(4, 5, 6) }}</style>
<script nonce="{nonce}">const ran = ["inline"]</script>
<script nonce="{nonce}" src="/own.js"></script>
<script nonce="{nonce}" src="/probes.js"></script>
<script nonce="{nonce}" src="/own.mjs" type="module"></script>
<body>site</body>
</html>
"""
OWN_SCRIPT = "<script nonce='{nonce}'>document.title = 'own'</script>"

SILENCE = b"RIFF\x2c\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x40\x1f\0\0\1\0\x08\0data\x08\0\0\0" + b"\x80" * 8
FONT = b64decode(  # one glyph, in WOFF2
    "d09GMgABAAAAAADMAAoAAAAAAfgAAACGAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAABmAALAoUMgE2AiQDBAsEAAQgBQYHIBthAfif"
    "BXaTczFyw4oZJuRbPfuxxfPlhe/vZo4PAsUCBqTTOBbIqpVyYCJHLZWDwAGtfPiSbwSUomewAcc5RKohLWcACFxQqe0chngL356g"
    "0JhaMA0PlIITJwEEFILGAAyQTl7WAYLwaZr9aRu+/uu3LLQCwTo/bNyWAABiI4gWUAAA4NIA"
)

FILES: dict[str, tuple[str, str | bytes]] = {
    "/own.css": ("text/css", "body { color: rgb(1, 2, 3) }"),
    "/own.js": ("text/javascript", "ran.push('classic')"),
    "/own.mjs": ("text/javascript", "import { part } from './part.mjs'; ran.push(part)"),
    "/part.mjs": ("text/javascript", "export const part = 'module'"),
    "/more.js": ("text/javascript", "ran.push('more')"),
    "/probes.js": ("text/javascript", Path(__file__).with_name("probes.js").read_bytes()),
    "/worker.js": ("text/javascript", "postMessage('told')"),
    "/service.js": ("text/javascript", ""),
    "/dot.svg": ("image/svg+xml", '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'),
    "/silence.wav": ("audio/wav", SILENCE),
    "/tiny.woff2": ("font/woff2", FONT),
    "/data": ("text/plain", "data"),
    "/events": ("text/event-stream", "data: told\n\n"),
    "/framed": ("text/html", "<!doctype html><title>framed</title>"),
    "/site.webmanifest": ("application/manifest+json", '{"name": "site"}'),
}
FRAMES = '<!doctype html><title>frames</title><iframe src="{address}"></iframe>'


async def page(request: Request) -> HTMLResponse:
    return HTMLResponse(PAGE.format(nonce=request.state.csp_nonce))


async def dangling(request: Request) -> HTMLResponse:
    """Repeat what the visitor says, right before a script that may run."""
    own = OWN_SCRIPT.format(nonce=getattr(request.state, "csp_nonce", ""))
    return HTMLResponse(f"<!doctype html><title>-</title>{request.query_params['said']}{own}")


async def file(request: Request) -> Response:
    media_type, content = FILES[request.url.path]
    return Response(content, media_type=media_type)


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()


async def anything(request: Request) -> Response:
    """Answer an empty script where one is asked for, a page that frames what it is told to, and otherwise a page."""
    for_everybody = {"access-control-allow-origin": "*"}
    if request.url.path.endswith(".js"):
        return Response("", media_type="text/javascript", headers=for_everybody)
    address = request.query_params.get("frame")
    return HTMLResponse(FRAMES.format(address=address) if address else "stranger", headers=for_everybody)


site = protect(
    Starlette(
        routes=[
            Route("/", page),
            Route("/dangling", dangling),
            WebSocketRoute("/echo", echo),
            *(Route(path, file, methods=["GET", "POST"]) for path in FILES),
        ]
    )
)
stranger = Starlette(routes=[Route("/{path:path}", anything, methods=["GET", "POST"])])
