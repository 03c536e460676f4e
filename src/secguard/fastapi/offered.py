"""What policies offer on `request.state`, as dependencies."""

from __future__ import annotations

from typing import Any

from fastapi import Depends
from starlette.requests import HTTPConnection


def offered(name: str, missing: str) -> Any:
    """Return the dependency on what is on offer under this name. Where it is not, an error says what is missing."""

    async def read(connection: HTTPConnection) -> object:
        try:
            return getattr(connection.state, name)
        except AttributeError:
            raise RuntimeError(missing) from None

    return Depends(read)
