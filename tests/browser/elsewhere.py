"""What the small web of the recipes answers, by address: the files of our own site, and everybody else's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from starlette.datastructures import URL
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from tests.serving import ROOT

HTMX: Final = ROOT / "build/htmx/node_modules"
_EVERYBODY: Final = {"Access-Control-Allow-Origin": "*"}
_EMPTY_MODULE: Final = b"\0asm\1\0\0\0"  # WebAssembly core specification, section 5.5.16: magic and version

_script = partial(Response, media_type="text/javascript")
_nothing = partial(Response, status_code=204)
_compile = 'WebAssembly.compileStreaming(fetch("/static/sum.wasm"))'

_CHAT: Final = """
document.title = "chat";
if (document.querySelector("#chat")) {
  const face = new Image();
  face.src = "https://widgets.example/face.png";
  const messages = fetch("https://api.widgets.example/messages").then((answer) => answer.text());
  Promise.all([messages, face.decode()]).then(() => { document.title = "chat with a face"; }, () => {});
}
if (document.querySelector("#chat.emoji")) {
  const emoji = document.createElement("script");
  emoji.src = "https://widgets.example/emoji.js";
  document.head.append(emoji);
}
"""
_PAY: Final = """
const frame = document.createElement("iframe");
frame.allow = "payment";
frame.src = "https://js.pay.example/card";
addEventListener("message", async ({ data }) => {
  await (await fetch("https://api.pay.example/session")).text();
  document.title = data;
});
document.querySelector("#card").append(frame);
"""
_CARD: Final = """<!doctype html><script>
parent.postMessage(document.featurePolicy.allowsFeature("payment") ? "card and wallets" : "card only", "*");
</script>"""
_VISIT: Final = """
const pixel = new Image();
pixel.src = "https://stats.example/visit.gif";
const sent = navigator.sendBeacon("https://stats.example/visit", stats[0]);
pixel.decode().then(() => { if (sent) document.title = "visit of " + stats[0]; }, () => {});
"""
_PICTURE: Final = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'

ANSWERS: Final[dict[str, Callable[[], Response]]] = {
    "https://shop.example/static/shop.css": partial(Response, ".total { color: teal }", media_type="text/css"),
    "https://shop.example/static/hello.js": partial(_script, 'document.title = "hello";'),
    "https://shop.example/static/sum.wasm": partial(Response, _EMPTY_MODULE, media_type="application/wasm"),
    "https://shop.example/static/worker.js": partial(
        _script, f'{_compile}.then(() => postMessage("compiled"), (error) => console.error(error.message));'
    ),
    "https://shop.example/static/htmx-2.js": partial(FileResponse, HTMX / "htmx2/dist/htmx.min.js"),
    "https://shop.example/static/htmx-4.js": partial(FileResponse, HTMX / "htmx4/dist/htmx.min.js"),
    "https://shop.example/static/hx-csp.js": partial(FileResponse, HTMX / "htmx4/dist/ext/hx-csp.min.js"),
    "https://shop.example/part": partial(HTMLResponse, "<b>part</b>"),
    "https://shop.example/pay": partial(RedirectResponse, "https://checkout.pay.example/session", 303),
    "https://shop.example/login": partial(RedirectResponse, "https://login.example/authorize", 303),
    "https://widgets.example/chat.js": partial(_script, _CHAT),
    "https://widgets.example/emoji.js": partial(_script, 'document.documentElement.dataset.emoji = "";'),
    "https://widgets.example/face.png": partial(Response, _PICTURE, media_type="image/svg+xml"),
    "https://api.widgets.example/messages": partial(Response, headers=_EVERYBODY),
    "https://js.pay.example/v3.js": partial(_script, _PAY),
    "https://js.pay.example/card": partial(HTMLResponse, _CARD),
    "https://api.pay.example/session": partial(Response, headers=_EVERYBODY),
    "https://checkout.pay.example/session": partial(HTMLResponse, "<!doctype html><title>checkout</title>"),
    "https://login.example/authorize": partial(HTMLResponse, "<!doctype html><title>sign in</title>"),
    "https://stats.example/v1.js": partial(_script, _VISIT),
    "https://stats.example/visit": partial(_nothing, headers=_EVERYBODY),
    "https://stats.example/visit.gif": partial(Response, _PICTURE, media_type="image/svg+xml"),
}


def answer_to(url: URL) -> Response | None:
    """Return what is at this address, whatever the query."""
    if url.path == "/favicon.ico":
        return _nothing()
    found = ANSWERS.get(str(url.replace(query="")))
    return found() if found else None
