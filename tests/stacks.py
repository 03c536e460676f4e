"""What the composition law is tried on: random stacks of policies, the real ones among them, random apps and requests.

A new defence adds its line to REAL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias
from unittest import mock

from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from secguard._http import Declared, Lines, join, keep, override, remove
from secguard._paths import PathRules
from secguard.cors import CORSPolicy, CORSSettings
from secguard.csp import NONCE, CSPPolicy, CSPSettings, csp
from secguard.csp.amendments import AMENDED
from secguard.csrf import CSRFPolicy, CSRFSettings, TokenSettings
from secguard.events import Event
from secguard.headers import HeadersPolicy, HeadersSettings
from secguard.hosts import HostsPolicy, HostsSettings
from secguard.https import HttpsPolicy, HttpsSettings
from secguard.ip_access import IPAccessPolicy, IPAccessRule, IPAccessSettings
from secguard.policy import Context, Exchange, Outcome, Policy, Reply, Section
from secguard.rate_limit import RateLimitPolicy, RateLimitSettings
from secguard.requests import RequestLimitsPolicy, RequestsPolicy, RequestsSettings
from tests.helpers import Line, Message, Scope, http_scope, websocket_scope

Recipe: TypeAlias = Callable[[Context], Policy]


def real(policy: Callable[[Any, Context], Policy], *sections: Section) -> st.SearchStrategy[Recipe]:
    """Recipes for a real policy under any of these sections. A policy may hold state: each stack makes its own."""
    return st.sampled_from(sections).map(lambda section: lambda context: policy(section, context))


async def _later(exchange: Exchange) -> str:
    await asyncio.sleep(0)
    return exchange.path


REAL: list[st.SearchStrategy[Recipe]] = [
    real(
        HeadersPolicy,
        HeadersSettings(),
        HeadersSettings(frame_options="DENY", extra={"X-One": "ours", "Vary": "Origin"}, remove=["X-Two", "Server"]),
        HeadersSettings.model_validate(
            {
                "hsts": None,
                "rules": [{"paths": ["/admin", "/users/{id}"], "frame_options": None, "extra": {"X-R": "1"}}],
            }
        ),
    ),
    real(
        CSPPolicy,
        CSPSettings(),
        CSPSettings.model_validate(
            {"rollout": "report", "directives": {"script_src": ["'nonce'", "'strict-dynamic'"]}, "report_only": {}}
        ),
        CSPSettings.model_validate(
            {
                "report_only": {"style_src": "'nonce'"},
                "rules": [
                    {"paths": ["/admin"], "directives": {"script_src": "'self'", "style_src": None}},
                    {"paths": ["/users/{id}"], "report_only": None, "directives": {"sandbox": []}},
                ],
            }
        ),
    ),
    real(
        CORSPolicy,
        CORSSettings(allow_origins=["https://a.example"], allow_credentials=True, expose_headers=["X-One"]),
        CORSSettings.model_validate(
            {
                "allow_origins": "https://*.b.example",
                "mode": "report",
                "rules": [{"paths": ["/admin", "/users/{id}"], "allow_origins": "*", "allow_headers": "*"}],
            }
        ),
    ),
    real(RequestsPolicy, RequestsSettings(), RequestsSettings(max_header_count=3), RequestsSettings(mode="report")),
    real(
        HostsPolicy,
        HostsSettings(allowed=("example.com",)),
        HostsSettings(allowed=("example.com", "*.org"), mode="report"),
    ),
    real(
        RequestLimitsPolicy,
        # Without body_timeout: step_through has no clock. tests/test_requests_composition.py has one.
        RequestsSettings(body_timeout=None),
        RequestsSettings(body_timeout=None, max_body_size=6, max_message_size=3, methods=["GET"], max_concurrency=1),
        RequestsSettings.model_validate(
            {
                "body_timeout": None,
                "max_body_size": 3,
                "max_websockets": 1,
                "mode": "report",
                "rules": [{"paths": ["/users"], "max_body_size": None}, {"paths": ["/admin"], "methods": ["POST"]}],
            }
        ),
        RequestsSettings.model_validate(
            {"body_timeout": None, "rules": [{"paths": ["/users/{id}"], "max_body_size": 4, "max_message_size": 4}]}
        ),
    ),
    real(HttpsPolicy, HttpsSettings(), HttpsSettings(redirect="always", exempt_paths=("/admin",))),
    real(
        CSRFPolicy,
        CSRFSettings(),
        CSRFSettings(isolate=True, trusted_origins=("https://a.example",), dangerously_exempt_paths=("/admin",)),
        CSRFSettings(require_origin=True, mode="report"),
        CSRFSettings(token=TokenSettings(paths=("/users",))),
    ),
    real(
        RateLimitPolicy,
        RateLimitSettings(default="2/minute; 3/hour"),
        RateLimitSettings(default="5/minute", cost=lambda exchange: len(exchange.path), headers="x-ratelimit"),
        RateLimitSettings.model_validate(
            {
                "default": "9/minute",
                "key": "header:x-one",
                "headers": "draft-7",
                "rules": [
                    {"paths": ["/users"], "limits": "1/minute", "statuses": ["2xx", 404]},
                    {"paths": ["/admin"], "limits": "1/minute", "cost": lambda exchange: 2, "key": _later},
                ],
            }
        ),
        RateLimitSettings(default="1/minute", cost=lambda exchange: 2, mode="report"),
    ),
    real(
        IPAccessPolicy,
        IPAccessSettings(deny=["203.0.113.0/24"]),
        IPAccessSettings(deny=["2001:db8::/32"], mode="report"),
        IPAccessSettings(
            allow=["2001:db8::/32"],
            refusal=404,
            rules=[IPAccessRule(paths=["/admin"]), IPAccessRule(paths=["/users/{id}"], allow=["203.0.113.9"])],
        ),
    ),
]


# --- policies that use every hook in every way ---

NAMES = (
    *(b"x-one", b"x-two", b"x-frame-options", b"vary", b"cache-control", b"content-security-policy"),
    b"access-control-allow-origin",
)
CASES: tuple[Callable[[bytes], bytes], ...] = (bytes.lower, bytes.upper, bytes.title)
PATHS = ("/", "/admin", "/admin/keys", "/users", "/users/7", "/users/7/keys", "/administrator", "/refused", "//admin")


def _ours(value: bytes) -> bool:
    return value.startswith(b"t")


DECLARED: tuple[Declared, ...] = tuple(
    made
    for name in NAMES
    for made in (
        override(name, b"ours"),
        override(name, None),
        override(name, b"unless", unless=_ours),
        keep(name, b"kept"),
        keep(name, None),
        keep(name, b"only", only=_ours),
        join(name, b"Origin, X-Token"),
    )
)


@dataclass(frozen=True)
class Script:
    """What one test policy does. Hooks that are "" are not overridden at all; "async" ones really let others run."""

    label: int
    declared: tuple[Declared, ...] = ()
    under_rule: tuple[Declared, ...] = ()
    admit: str = ""
    verdict: str = "refusal"
    finish: str = ""
    watch: str = ""
    done: str = ""

    def __call__(self, context: Context) -> Policy:
        hooks: dict[str, Any] = {"declare": lambda _, secure, matched: self._declare(secure, matched)}
        if self.under_rule:
            hooks["rules"] = PathRules([["/admin", "/users/{id}"], ["/users"]])
        for name, mode, hook in (
            ("admit", self.admit, self._admit),
            ("finish", self.finish, self._finish),
            ("on_receive", self.watch, self._watch),
            ("done", self.done, self._done),
        ):
            if mode:
                hooks[name] = _method(hook, waits=mode == "async")
        return type("Scripted", (Policy,), hooks)(context)  # type: ignore[no-any-return]

    def _declare(self, secure: bool, matched: tuple[int, ...]) -> Iterable[Declared]:
        yield from self.declared[:1] if not secure else self.declared
        for _ in matched:
            yield from self.under_rule

    def _reply(self, policy: Policy, exchange: Exchange) -> Reply:
        status = 403 + self.label
        headers = ((b"X-One", b"reply"), (b"x-label", b"%d" % self.label))
        if self.verdict == "plain":
            return Reply(status, headers, b"an answer", cacheable=True)
        event = Event(code=f"scripted.{self.label}", action="refused", reason="told to", time=0.0)
        return Reply(status, headers, b"refused", event=event, close_code=4000 + self.label)

    def _admit(self, policy: Policy, exchange: Exchange) -> Reply | None:
        if exchange.path == "/refused" or exchange.headers.get(b"x-refuse") == b"%d" % self.label:
            return self._reply(policy, exchange)
        if exchange.headers.get(b"x-raise") == b"%d" % self.label:
            raise LookupError(f"admit {self.label}")
        return None

    def _finish(self, policy: Policy, exchange: Exchange, headers: Lines) -> None:
        headers.append((b"x-trace", b"%d %d" % (self.label, len(headers))))
        if exchange.path.startswith("/users"):
            remove(headers, NAMES[self.label % len(NAMES)])
        if exchange.secure:
            headers.insert(0, (b"X-First", b"%d" % self.label))

    def _watch(self, policy: Policy, exchange: Exchange, message: Message) -> Reply | None:
        said = message.get("body", message.get("text", ""))
        if said in (b"bad", "bad", b"bad%d" % self.label, f"bad{self.label}"):
            return self._reply(policy, exchange)
        return None

    def _done(self, policy: Policy, exchange: Exchange, outcome: Outcome) -> None:
        policy.context.notice(f"done.{self.label}", f"{outcome.status}")


def _method(hook: Callable[..., Any], *, waits: bool) -> Callable[..., Any]:
    def plain(policy: Policy, *args: Any) -> Any:
        return hook(policy, *args)

    async def waiting(policy: Policy, *args: Any) -> Any:
        await asyncio.sleep(0)
        return hook(policy, *args)

    return waiting if waits else plain


_hook = st.sampled_from(("", "plain", "plain", "async"))
_declarations = st.lists(st.sampled_from(DECLARED), max_size=3).map(tuple)
scripted: st.SearchStrategy[Recipe] = st.builds(
    Script,
    label=st.integers(0, 2),
    declared=_declarations,
    under_rule=st.just(()) | _declarations,
    admit=_hook,
    verdict=st.sampled_from(("refusal", "plain")),
    finish=_hook,
    watch=_hook,
    done=_hook,
)
# Drawn in two steps: one_of() would give each real policy as much weight as all scripted ones together.
_recipes: st.SearchStrategy[Recipe] = st.sampled_from((scripted, scripted, st.one_of(REAL))).flatmap(lambda kind: kind)
stacks: st.SearchStrategy[list[Recipe]] = st.lists(_recipes, min_size=1, max_size=4)


# --- apps ---

lines: st.SearchStrategy[list[Line]] = st.lists(
    st.tuples(
        st.builds(
            lambda name, case: case(name), st.sampled_from((*NAMES, b"set-cookie", b"server")), st.sampled_from(CASES)
        ),
        st.sampled_from((b"theirs", b"too", b"Origin", b"*", b"", b"SAMEORIGIN", b"public, max-age=1")),
    ),
    max_size=5,
)


@dataclass(frozen=True)
class Scripted:
    """An app that plays what it was told, one step after the other. The nonces that are made for it are numbered."""

    steps: tuple[tuple[Any, ...], ...]

    async def __call__(
        self, scope: Scope, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        nonces = count(1)
        for step, *arguments in self.steps:
            if step == "raise":
                raise ValueError("the app's own")
            if step == "nonce":
                with mock.patch("secguard.policy.exchange.urandom", lambda size: next(nonces).to_bytes(size, "big")):
                    nonce = scope["state"].get("csp_nonce")
                await send({"type": "x.told", "nonce": nonce})
                continue
            if step == "amend":
                if AMENDED in scope["state"]:
                    csp(HTTPConnection(scope)).add(img_src="https://a.example").replace(script_src_elem=NONCE)
                continue
            if step == "read":
                while (message := await receive()).get("more_body"):
                    pass
                if message["type"].endswith(".disconnect"):
                    raise ConnectionError("the client is gone")
            else:
                await send(self._message(step, *arguments))

    def _message(self, step: str, *arguments: Any) -> Message:
        if step.endswith(("start", "accept")):
            status, headers = arguments
            return {"type": step, "headers": list(headers)} | ({"status": status} if "start" in step else {})
        return {"type": step, **arguments[0]}


def _steps(*steps: Any) -> tuple[tuple[Any, ...], ...]:
    return tuple((step,) if isinstance(step, str) else step for step in steps)


def _answers(status: int, headers: list[Line]) -> list[tuple[tuple[Any, ...], ...]]:
    start = ("http.response.start", status, headers)
    first = ("http.response.body", {"body": b"first", "more_body": True})
    last = ("http.response.body", {"body": b"last"})
    return [
        _steps(start, last),
        _steps("read", start, last),
        _steps(start, first, "read", last),
        _steps(("http.response.early_hint", {"links": [b"</x>"]}), start, ("x.unheard-of", {"it": 1}), first, last),
        _steps("raise"),
        _steps("read", "raise"),
        _steps(start, first, "raise"),
        _steps(start, last, ("http.response.trailers", {"headers": [(b"x-one", b"1")]}), "raise"),
        _steps(),
    ]


def _conversations(status: int, headers: list[Line]) -> list[tuple[tuple[Any, ...], ...]]:
    accept = ("websocket.accept", None, headers)
    said = ("websocket.send", {"text": "said"})
    close = ("websocket.close", {"code": 4000})
    denial = ("websocket.http.response.start", status, headers)
    body = ("websocket.http.response.body", {"body": b"no"})
    return [
        _steps("read", accept, said, close),
        _steps("read", accept, "read", said, "read", close),
        _steps(close),
        _steps("read", denial, body),
        _steps("raise"),
        _steps("read", accept, "raise"),
        _steps(accept, "read", ("x.unheard-of", {"it": 1}), "read"),
    ]


# --- exchanges: an app, a scope, and what comes in ---


@dataclass(frozen=True)
class Case:
    """One request to one app."""

    app: Scripted
    websocket: bool
    scope: tuple[tuple[str, Any], ...]
    incoming: tuple[Message, ...]

    def make_scope(self) -> Scope:
        make = websocket_scope if self.websocket else http_scope
        return make(**dict(self.scope))


_bodies = st.lists(st.sampled_from((b"good", b"bad", b"bad1", b"bad2")), min_size=1, max_size=3)
_request_lines = st.lists(
    st.sampled_from(
        (
            *((b"x-refuse", b"1"), (b"x-refuse", b"2"), (b"x-raise", b"2")),
            *((b"origin", b"https://a.example"), (b"sec-fetch-site", b"cross-site"), (b"content-length", b"9")),
            *((b"origin", b"https://a.b.example"), (b"access-control-request-method", b"GET")),
        )
    ),
    max_size=3,
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    websocket = draw(st.booleans())
    secure = draw(st.booleans())
    scope: dict[str, Any] = {
        "path": draw(st.sampled_from(PATHS)),
        "headers": tuple(draw(_request_lines)),
        "scheme": ("ws" if websocket else "http") + "s" * secure,
        "host": draw(st.sampled_from((*[b"example.com"] * 12, b"a.org:8443", b"evil/", None))),
        "client": draw(st.sampled_from((("203.0.113.9", 5), ("2001:db8::1%eth0", "5"), None))),
    }
    scope |= (
        {"denial": draw(st.booleans())}
        if websocket
        else {"method": draw(st.sampled_from(("GET", "HEAD", "POST", "OPTIONS")))}
    )
    plays = (_conversations if websocket else _answers)(draw(st.sampled_from((200, 204, 304, 500))), draw(lines))
    steps = list(draw(st.sampled_from(plays)))
    for step in draw(st.lists(st.sampled_from(("nonce", "nonce", "amend")), max_size=2)):
        steps.insert(draw(st.just(0) | st.integers(0, len(steps))), (step,))  # mostly in time
    parts = draw(_bodies)
    incoming: list[Message]
    if websocket:
        incoming = [{"type": "websocket.connect"}]
        incoming += [{"type": "websocket.receive", "text": part.decode()} for part in parts]
    else:
        incoming = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        incoming[-1]["more_body"] = False
    return Case(Scripted(tuple(steps)), websocket, tuple(scope.items()), tuple(incoming))
