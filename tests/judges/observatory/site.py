"""What the Observatory gets to see of a site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

Line: TypeAlias = tuple[str, str]

# Who its CORS request says to be: src/config.js.
ORIGIN: Final = "https://http-observatory.security.mozilla.org"

TO_HTTPS: Final = ("http://example.com/", "https://example.com/")


@dataclass(frozen=True)
class Site:
    """The answer on https, and what the other requests of a scan tell."""

    headers: Sequence[Line] = ()
    page: str = ""
    cors: Sequence[Line] = ()
    """The answer to a preflight from `ORIGIN`."""
    route: Sequence[str] = TO_HTTPS
    """Where a request on plain http ends up, step by step. Empty where nobody listens."""
    host: str = "example.com"
    preloaded: bool = False
    """Whether browsers have its HSTS built in."""

    @cached_property
    def _named(self) -> dict[str, list[str]]:
        named: dict[str, list[str]] = {}
        for name, value in self.headers:
            named.setdefault(name.lower(), []).append(value)
        return named

    def header(self, name: str) -> str | None:
        """The value of a header. The Observatory runs on Node, which joins repeated ones."""
        return ", ".join(self._named[name]) if name in self._named else None

    def cookies(self) -> Sequence[str]:
        """The values of all Set-Cookie lines."""
        return self._named.get("set-cookie", ())

    @property
    def url(self) -> str:
        return f"https://{self.host}/"

    def as_json(self) -> dict[str, Any]:
        """The site as tests/judges/mdn_observatory.mjs reads it."""
        return {**asdict(self), "origin": ORIGIN}
