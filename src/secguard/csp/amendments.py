"""csp(request): change the policy of one response, from inside its endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Self, TypeAlias, cast

from pydantic import ValidationError
from starlette.requests import HTTPConnection

from secguard.csp.directives import Directives, by_field
from secguard.csp.sources import AT_ANSWER, kind_of, obeyed
from secguard.csp.words import BLOB, DATA, NONE, STRICT_DYNAMIC
from secguard.events import escape, on_one_line
from secguard.policy import Exchange
from secguard.policy.section import meant

Written: TypeAlias = str | Iterable[str]

_Change: TypeAlias = Callable[[Directives, Mapping[str, Any]], Directives]
_Check: TypeAlias = Callable[[Directives, Directives, Iterable[str]], None]

AMENDED: Final = "secguard.csp"  # under which the state of a request holds its Amendments

_DEFAULT: Final = ("default_src",)
_SCRIPT: Final = ("script_src", *_DEFAULT)
_STYLE: Final = ("style_src", *_DEFAULT)
_CHILD: Final = ("child_src", *_DEFAULT)
# The lists of sources, and what holds in the place of one that is not there (CSP 3 section 6.8.3).
_FALLBACKS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("script_src_elem", "script_src_attr"), _SCRIPT),
    **dict.fromkeys(("style_src_elem", "style_src_attr"), _STYLE),
    "worker_src": ("child_src", *_SCRIPT),
    "frame_src": _CHILD,
    "fenced_frame_src": ("frame_src", *_CHILD),
    **dict.fromkeys(
        ("script_src", "style_src", "img_src", "media_src", "font_src", "connect_src", "child_src", "manifest_src"),
        _DEFAULT,
    ),
    "object_src": _DEFAULT,
    **dict.fromkeys(("default_src", "base_uri", "form_action", "frame_ancestors"), ()),
}
# Under the 'strict-dynamic' of script-src a script may start any worker, and a worker import any module (CSP 3 section
# 6.7.1.1). worker-src has no such word: these are its words for the same.
_ANY_WORKER: Final = ("*", BLOB, DATA)


class Policies(NamedTuple):
    """The enforced policy of a response, and those that only report."""

    enforced: Directives
    report_only: tuple[Directives, ...]


class Amendments:
    """The policy of one response, to be changed before the response starts. Each method returns this object again.

    What is written is checked as strictly as at start, and changes the report-only policies of the response too.

    Raises:
        ValueError: a name or a source is wrong, or sources make no sense together.
        RuntimeError: the response has started.

    Example:
        >>> csp(request).add(img_src="https://cdn.example.com").replace(frame_src=["https://pay.example.com"])
    """

    __slots__ = ("_base", "_exchange", "_owner")

    def __init__(self, exchange: Exchange, owner: object, base: Policies) -> None:
        self._exchange = exchange
        self._owner = owner
        self._base = base

    def add(self, **sources: Written) -> Self:
        """Allow more: the sources join what the directive says, or what it falls back on where it is not there.

        A directive that is not there and falls back on nothing allows everything already, and is left so. What browsers
        would ignore is refused, and so is what would make them ignore a source that they obey now.
        """
        return self._amend(_widened, sources, _check_obeyed)

    def replace(self, **directives: Written | bool | None) -> Self:
        """Set directives, whatever they said; `None` leaves one out."""
        return self._amend(_replaced, directives)

    def drop(self, *names: str) -> Self:
        """Leave directives out. What they fall back on holds then, if anything does."""
        return self._amend(_replaced, dict.fromkeys(names))

    def _amend(self, change: _Change, written: Mapping[str, Any], check: _Check | None = None) -> Self:
        written = {name: _once(value) for name, value in by_field(written).items()}
        current: Policies = self._exchange.notes.get(self._owner, self._base)
        with _telling_of("enforced"):
            enforced = change(current.enforced, written)
            # What a report-only policy ignores it reports, as it is meant to: no page has to fail by that.
            if check:
                check(current.enforced, enforced, written)
        with _telling_of("report-only"):
            report_only = tuple(change(held, written).rehearsed() for held in current.report_only)
        self._exchange.note(self._owner, Policies(enforced, report_only))
        return self


def csp(request: HTTPConnection) -> Amendments:
    """Return what changes the Content-Security-Policy of the response to this request, and of no other.

    Raises:
        RuntimeError: no policy stands around this app, because the `csp` section is off.

    Example:
        >>> async def video(request):
        ...     csp(request).add(media_src="https://video.example.com")
        ...     return templates.TemplateResponse(request, "video.html")
    """
    try:
        return cast("Amendments", request.scope["state"][AMENDED])
    except KeyError:
        raise RuntimeError("csp(request) found no policy to change: the csp section is off (SECGUARD_CSP)") from None


@contextmanager
def _telling_of(disposition: str) -> Iterator[None]:
    """Tell a mistake on one line, with the policy of the response in which it is one."""
    try:
        yield
    except ValueError as error:
        told = "; ".join(_told(error)) if isinstance(error, ValidationError) else str(error)
        raise ValueError(f"{on_one_line(told)} (in the {disposition} policy)") from None


def _once(value: object) -> object:
    """Walk what can be walked once only: a response may have several policies."""
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str | Mapping) else value


def _replaced(held: Directives, written: Mapping[str, Any]) -> Directives:
    return _checked(written).over(held)


def _widened(held: Directives, written: Mapping[str, Any]) -> Directives:
    changes = {}
    for name, added in written.items():
        if name in Directives.model_fields and name not in _FALLBACKS:
            raise ValueError(f"{name} is no list of sources to add to: replace() sets it")
        if added is None:
            raise ValueError(f"{name}: None adds nothing; drop() leaves a directive out")
        several = added if isinstance(added, tuple) else (added,)
        base = _effective(held, name, several)
        if base is None:
            _checked({name: added})  # there is nothing to widen, but a mistake is one all the same
        elif name == "child_src" and _workers_obey_scripts(held):
            raise ValueError(
                "child_src: workers would obey it, and script_src no longer: add to frame_src or worker_src"
            )
        else:
            changes[name] = [source for source in (*base, *several) if source != NONE] or [NONE]
    return _checked(changes).over(held)


def _workers_obey_scripts(held: Directives) -> bool:
    return held.worker_src is None and held.child_src is None and held.script_src is not None


def _check_obeyed(before: Directives, after: Directives, names: Iterable[str]) -> None:
    """Raise where browsers ignore what was added, or beside it what they obeyed before."""
    for name in names:
        base, widened = _effective(before, name) or (), _effective(after, name) or ()
        counted, counts = obeyed(base), obeyed(widened)
        ignored = [source for source in widened if source not in counts and (source in counted or source not in base)]
        if ignored and STRICT_DYNAMIC in widened:
            beside, remedy = STRICT_DYNAMIC, "give the script element the nonce, or set the list with replace()"
        elif ignored:
            beside, remedy = "a nonce or a hash", "set the list with replace()"
        else:
            continue
        raise ValueError(f"{name}: browsers ignore {' and '.join(ignored)} beside {beside}: {remedy}")


def _checked(written: Mapping[str, Any]) -> Directives:
    return Directives.model_validate(written, context=AT_ANSWER)


def _effective(held: Directives, name: str, beside: tuple[str, ...] = ()) -> tuple[str, ...] | None:
    """Return what a directive says, or what holds in its place as far as it means something there, beside others."""
    if name not in _FALLBACKS:
        return None
    own: tuple[str, ...] | None = getattr(held, name)
    if own is not None:
        return own
    for fallback in _FALLBACKS[name]:
        inherited: tuple[str, ...] | None = getattr(held, fallback)
        if inherited is not None:
            any_worker = name == "worker_src" and STRICT_DYNAMIC in inherited
            return _ANY_WORKER if any_worker else kind_of(name).inherited(inherited, beside)
    return None


def _told(error: ValidationError) -> Iterable[str]:
    for told in error.errors():
        name = str(told["loc"][0]) if told["loc"] else ""
        if told["type"] == "extra_forbidden":
            yield f"there is no directive {name}. {meant(name, Directives.model_fields, Directives.gone)}"
        elif told["type"].startswith("csp-"):
            yield f"{name}: {told['msg']}".removeprefix(": ")
        else:
            yield f"{name}: {escape(told['input'])} is not taken. {told['msg']}"
