"""An API for a page on another origin: who may read, who may write, and what is for everybody."""

import os
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Cookie, FastAPI, Request, Response, WebSocket
from pydantic import BaseModel

from secguard import Settings, protect
from secguard.cors import CORSRule, CORSSettings

PAGE = os.environ.get("PAGE_ORIGIN", "http://localhost:8001")
LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="4" fill="teal"/></svg>'

app = FastAPI(title="notes")
notes: list[str] = []


class Note(BaseModel):
    text: str


@app.get("/notes")
def read(visitor: Annotated[str | None, Cookie()] = None) -> dict[str, object]:
    return {"visitor": visitor, "notes": notes[-5:]}


@app.post("/notes", status_code=201)
def write(note: Note) -> Note:
    """Take JSON: a browser asks first whether another origin may send that (a preflight)."""
    notes.append(note.text)
    return note


@app.post("/forms/notes", status_code=201)
async def write_from_a_form(request: Request) -> Note:
    """Take a form: a browser sends that without asking, from anywhere. Only csrf stands in its way."""
    (text,) = parse_qs((await request.body()).decode())["text"]
    return write(Note(text=text))


@app.post("/login", status_code=204)
def login(response: Response) -> None:
    response.set_cookie("visitor", "ada", httponly=True, samesite="lax")


@app.get("/public/logo.svg")
def logo() -> Response:
    return Response(LOGO, media_type="image/svg+xml")


@app.websocket("/ws")
async def hello(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


protect(
    app,
    Settings(
        cors=CORSSettings(
            allow_origins=[PAGE],
            allow_methods=["GET", "POST"],
            allow_headers=["Content-Type"],
            allow_credentials=True,
            rules=[CORSRule(paths=["/public"], allow_origins=["*"], allow_credentials=False)],
        )
    ),
)
