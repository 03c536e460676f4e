"""secguard hardens Starlette and FastAPI apps, and any other ASGI 3 app, with one line and one settings object.

Example:
    >>> from fastapi import FastAPI
    >>> from secguard import protect
    >>> app = protect(FastAPI())
"""

from secguard.events import Event
from secguard.guard import Guard, protect
from secguard.policy import Context, Exchange, Policy, Reply
from secguard.settings import Settings, SettingsError

__all__ = ["Context", "Event", "Exchange", "Guard", "Policy", "Reply", "Settings", "SettingsError", "protect"]
