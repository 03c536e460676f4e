"""The section, and what it says of tokens."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from secguard._origins import OriginEntry
from secguard._paths import PathPattern, PathRules
from secguard.policy import RefusingSection, Section
from secguard.policy.section import COMMAS, Several
from secguard.proxies.settings import HeaderName


class TokenSettings(Section):
    """Where a request has to carry a token besides, and how.

    Raises:
        ValidationError: `paths` is empty, or no token is asked for at one of `form_paths` (`csrf-token-form-paths`).

    Example:
        >>> TokenSettings(paths=["/account"], form_paths=["/account/password"]).header
        'x-csrf-token'
    """

    paths: Annotated[Several[PathPattern], COMMAS, Field(min_length=1)]
    """Where everything but GET, HEAD and OPTIONS needs a token."""
    header: HeaderName = "x-csrf-token"
    """The header that scripts send it in."""
    form_paths: Annotated[Several[PathPattern], COMMAS] = ()
    """Of these paths, those where it may come as a field of a form, too. It is looked for before the app runs."""
    field: str = Field(default="csrf_token", min_length=1)
    """The field, which has to come within the first 64 KiB of the form."""

    @model_validator(mode="after")
    def _asks_where_forms_answer(self) -> Self:
        asked = PathRules([self.paths])
        if idle := [path for path in self.form_paths if not asked.match((path,))]:
            raise PydanticCustomError(
                "csrf-token-form-paths",
                "no token is asked for at {idle}: add it to csrf.token.paths, or take it out of form_paths",
                {"idle": ", ".join(idle)},
            )
        return self


class CSRFSettings(RefusingSection):
    """Which requests from elsewhere may change something, and with `isolate`, load something.

    Raises:
        ValidationError: an entry is no origin (`origin`) or no path pattern (`path-pattern`).

    Example:
        >>> CSRFSettings(trusted_origins=["https://login.example.com"]).trusted_origins
        ('https://login.example.com',)
    """

    trusted_origins: Annotated[Several[OriginEntry], COMMAS] = ()
    """Exact origins that may do here whatever the visitor may."""
    dangerously_exempt_paths: Annotated[Several[PathPattern], COMMAS] = ()
    """Paths, as they are routed, where every site may make a visitor's browser do everything."""
    exempt_paths: Annotated[Several[PathPattern], COMMAS] = ()
    """The same under a name that hides the danger: a notice at start asks to write the other one."""
    allow_same_site: bool = False
    """Trust every sibling, such as `https://anything.example.com`, where the browser sends Sec-Fetch-Site."""
    require_origin: bool = False
    """Refuse what comes with neither Sec-Fetch-Site nor Origin: clients that are no browsers, and very old browsers."""
    isolate: bool = False
    """Let other sites open pages, and load nothing: GET, HEAD and OPTIONS are looked at, too."""
    token: TokenSettings | None = None
    """Ask for a token besides, at some paths. It needs `secret_keys`."""
