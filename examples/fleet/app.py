"""An app for several workers. How often somebody may come is one number, whichever worker answers."""

import os
import secrets
from pathlib import Path

from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from secguard import protect
from secguard.fastapi import CSPNonce, limit

PAGE = Path(__file__).with_name("page.html").read_text()
PASSWORD = "correct horse"  # noqa: S105 - an example's

app = FastAPI(title="fleet")


class Credentials(BaseModel):
    name: str
    password: str


@app.get("/")
async def page(nonce: CSPNonce) -> HTMLResponse:
    return HTMLResponse(PAGE.replace("{nonce}", nonce).replace("{worker}", str(os.getpid())))


@app.get("/worker")
async def worker() -> dict[str, int]:
    """Say which process answers: SECGUARD_RATE_LIMIT__DEFAULT counts requests to all of them together."""
    return {"worker": os.getpid()}


@app.post("/login", dependencies=[Depends(limit("5/minute; 20/hour", name="login", statuses=[401]))])
async def login(credentials: Credentials) -> dict[str, str]:
    """Take a password. Only failures are counted, on top of what is counted for every request."""
    if not secrets.compare_digest(credentials.password.encode(), PASSWORD.encode()):
        raise HTTPException(401, "wrong name or password")
    return {"hello": credentials.name}


protect(app)  # the limit for everything, and the store that the workers share, are variables: see __main__.py
