"""secguard hardens Starlette and FastAPI apps, and any other ASGI 3 app, with one line and one settings object."""

from secguard.guard import Guard, protect

__all__ = ["Guard", "protect"]
