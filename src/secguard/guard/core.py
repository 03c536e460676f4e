"""The Guard itself. Its rules stand in the docstring of the package."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from inspect import iscoroutinefunction
from typing import Final, Protocol, cast

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from secguard._paths import Matched
from secguard.events import logger
from secguard.guard.docs import serve_docs
from secguard.guard.hooks import hooks, overrides, steps
from secguard.guard.lifespan import living
from secguard.guard.state import OfferingState
from secguard.guard.timing import within
from secguard.guard.traffic import Delivery, Plan, UnseenDelivery, WaitingDelivery
from secguard.guard.watch import Watch, watched
from secguard.policy import Context, Direct, Exchange, Offers, Outcome, Policy, Reply, TimeLimit, Verdict
from secguard.policy.context import PLAIN_TEXT
from secguard.policy.exchange import SECURE_SCHEMES, UnreadExchange

_UNSEEN: Final = Exchange({"type": "http", "path": "/", "headers": []}, Direct())  # where no hook looks at the request
_ERROR: Final = Reply(500, (PLAIN_TEXT,), b"Internal Server Error\n")
DEEPEST: Final = 32  # middlewares: one that answers to every attribute must not hold us


class Rooted(Protocol):
    """An app that sets a root path of its own in place of the server's, as FastAPI does."""

    root_path: str


class Configured(Protocol):
    """What a Guard needs of Settings."""

    def policies(self) -> Sequence[Policy]:
        """Return the policies, outermost first."""


class Guard:
    """Hardens any ASGI 3 app: runs the policies of `settings` around it, over http and websocket.

    Without settings, everything comes from `SECGUARD_*` variables, `.env` and the defaults. `policies` (outermost
    first, all of one Context) takes the place of settings where you assemble them yourself.

    The documentation pages of FastAPI apps inside are replaced by pages that work under a Content-Security-Policy (see
    `secguard.fastapi.serve_docs`).

    Raises:
        SettingsError: the settings are wrong; the message lists every mistake at once.
        ValueError: the policies do not share one Context.

    Example:
        >>> from secguard import Guard, Settings
        >>> app = Guard(app, Settings(hosts={"allowed": ["example.com"]}))
    """

    def __init__(
        self, app: ASGIApp, settings: Configured | None = None, *, policies: Iterable[Policy] | None = None
    ) -> None:
        self.app = app
        self.policies = tuple((settings or _from_environment()).policies() if policies is None else policies)
        self.context = _common_context(self.policies)

        self._admits = hooks(self.policies, "admit")
        self.foresights = hooks(self.policies, "look_ahead")
        self.patiences = hooks(self.policies, "patience")
        self.waits = hooks(self.policies, "on_wait")
        self.watches = hooks(self.policies, "on_receive")
        self._limits = hooks(self.policies, "limit")[::-1]
        self._dones = hooks(self.policies, "done")[::-1]
        lasting = [policy for policy in self.policies if overrides(policy, "open", "close")]
        edits = hooks(self.policies, "finish") + hooks(self.policies, "revise")
        self._exchange = Exchange if any(policy.reads_headers for policy in self.policies) else UnreadExchange
        self._lends = any(policy.steps_in for policy in self.policies)
        self.offers: Offers = {name: make for policy in self.policies for name, make in policy.offers.items()}

        self._living = living(app, lasting) if lasting else app
        self._everyone = len(self.policies)
        self._rooted = _rooted(app)
        self._resolver = self.context.resolver
        self._varies = any(policy.rules for policy in self.policies)
        self._selects = self._varies or self._resolver.trusts
        self._watches = bool(self.foresights or self.patiences or self.waits or self.watches)
        self._attends = self._watches or bool(self._limits)
        self._looks = self._attends or bool(self._admits or self._dones or edits or self.offers) or self._selects
        waits = any(iscoroutinefunction(hook) for _, hook in edits)
        self._delivery = WaitingDelivery if waits else Delivery if self._looks else UnseenDelivery
        self._plans = lru_cache(maxsize=1024)(self._compile)
        self._plan_plain = self._plans(self._everyone, False)
        self._plan_secure = self._plans(self._everyone, True)

        serve_docs(app, self.offers)
        self.meet(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        kind = scope["type"]
        if kind != "http" and kind != "websocket":  # noqa: PLR1714 - faster than a tuple, and it is asked every time
            await (self._living if kind == "lifespan" else self.app)(scope, receive, send)
            return

        if self._looks:
            # Made once for all Guards that see the same request alike, and for the endpoint.
            seen: Exchange | None = scope.get("secguard")
            root = self._rooted.root_path if self._rooted else ""
            if seen is None or not seen.speaks_for(scope, self._resolver, root):
                seen = scope["secguard"] = self._exchange(scope, self._resolver, root, seen)
            exchange, tls = seen, seen.tls
            if self.offers:
                scope["state"] = OfferingState(self.offers, exchange, scope.get("state"))
        else:
            exchange, tls = _UNSEEN, scope.get("scheme") in SECURE_SCHEMES
        plan = self.select(exchange) if self._selects else self._plan_secure if tls else self._plan_plain
        delivery = self._delivery(exchange, plan, send, self)
        if self._lends:
            exchange.delivery = delivery  # until the end: it would be a cycle

        passed = 0
        try:
            for passed, admit in self._admits:
                verdict = admit(exchange)
                if verdict is not None and (reply := await self.settle(passed, exchange, verdict)) is not None:
                    if reply.unfound and not exchange.unfound:
                        scope = {**scope, **exchange.lose()}
                        if await _awaited(admit(exchange)) is None:  # only here, and not everywhere
                            continue
                    await delivery.answer(reply, self.select(exchange, passed), scope)
                    break
            else:
                passed = self._everyone
                app, may_run = self.app, True
                if self._attends:
                    if self.foresights:
                        watch = Watch(self, delivery, receive, scope)
                        receive, may_run = watch.receive, await watch.look_ahead()
                    elif self._watches:
                        receive = partial(watched, [], self, delivery, receive, scope)
                    if self._limits:
                        app = self._within_limits(delivery, scope)
                if may_run:
                    await app(scope, receive, delivery.forward)
        except BaseException as error:
            await self._fail(delivery, error, passed, scope)
            if not (delivery.refused and isinstance(error, Exception)):
                raise  # but an app that raises because its client was refused has nothing to tell the server
        else:
            if self._dones:
                await self._release(exchange, passed, Outcome(delivery.status))
        finally:
            if self._lends:
                exchange.delivery = None

    def meet(self, app: object) -> None:
        """Let the policies look at the app, now that it is put together."""
        for _, meet in hooks(self.policies, "meet"):
            meet(app)

    def select(self, exchange: Exchange, outside: int | None = None) -> Plan:
        """Return the plan of a response that passes the `outside` outermost policies, or all."""
        routed = (exchange.routed,) if self._varies else ()
        matched = tuple(policy.rules.match(routed) for policy in self.policies) if self._varies else ()
        return self._plans(self._everyone if outside is None else outside, exchange.secure, matched)

    def _compile(self, outside: int, secure: bool, matched: tuple[Matched, ...] = ()) -> Plan:
        """Return what makes the headers of a response that passes the `outside` outermost policies."""
        passed = self.policies[:outside]
        lines = [tuple(policy.declare(secure, matched[at] if matched else ())) for at, policy in enumerate(passed)]
        usual = steps(passed, lines, revising=False)
        revises = any(overrides(policy, "revise") for policy in passed)
        return usual, steps(passed, lines, revising=True) if revises else usual

    async def settle(self, at: int, exchange: Exchange, verdict: Verdict | Awaitable[Verdict]) -> Reply | None:
        """Await the verdict where it must be, tell of a refusal, and rehearse it where the mode says so."""
        reply = await _awaited(verdict)
        if reply is None or reply.event is None:
            return reply
        policy = self.policies[at]
        policy.context.emit(replace(reply.event, action="rehearsed") if policy.rehearses else reply.event)
        return None if policy.rehearses else reply

    async def cut_short(self, delivery: Delivery, reply: Reply, at: int, scope: Scope) -> None:
        """Refuse while the app is running: with the Reply, or by leaving what has been begun without an end."""
        delivery.refused = True
        if delivery.status is None or scope["type"] == "websocket":
            await delivery.answer(reply, self.select(delivery.exchange, at), scope)
        else:
            delivery.close()  # too late for an answer: the server finds the response cut short
        delivery.exchange.cut_short = True  # a Guard further in may still be heard, and has nothing left to harden

    async def step_in(
        self, delivery: Delivery, policy: Policy, verdict: Verdict | Awaitable[Verdict], scope: Scope
    ) -> bool:
        """Refuse for a policy that an endpoint has asked, and say whether the endpoint is to stop."""
        at = self.policies.index(policy)
        reply = await self.settle(at, delivery.exchange, verdict)
        if reply is not None and not delivery.refused:
            await self.cut_short(delivery, reply, at, scope)
        return reply is not None

    def _within_limits(self, delivery: Delivery, scope: Scope) -> ASGIApp:
        """Return the app with the time limits that the policies set for this exchange."""
        app = self.app
        for at, ask in self._limits:
            limit: TimeLimit | None = ask(delivery.exchange) if scope["type"] == "http" else None
            if limit is not None:
                app = within(limit.seconds, app, partial(self._overrun, delivery, limit, at, scope))
        return app

    async def _overrun(self, delivery: Delivery, limit: TimeLimit, at: int, scope: Scope) -> bool:
        """Answer in the place of an app that takes too long, and say whether it is to be cancelled."""
        reply = await self.settle(at, delivery.exchange, limit.reply(delivery.exchange))
        if reply is not None and not delivery.refused:
            try:
                await self.cut_short(delivery, reply, at, scope)
            except Exception:
                logger.debug("the client was gone before the refusal could be told", exc_info=True)
        return reply is not None

    async def _fail(self, delivery: Delivery, error: BaseException, passed: int, scope: Scope) -> None:
        """Answer for an app that raised before it did, and release what was taken."""
        outcome = Outcome(delivery.status, error)
        try:
            if scope["type"] == "http" and delivery.status is None and isinstance(error, Exception):
                usual = passed == self._everyone and not delivery.exchange.unfound
                plan = delivery.plan if usual else self.select(delivery.exchange, passed)
                await delivery.answer(_ERROR, plan, scope)
                outcome = Outcome(delivery.status, error)
        except Exception:
            logger.debug("the client was gone before the error could be told", exc_info=True)
        finally:
            await self._release(delivery.exchange, passed, outcome)

    async def _release(self, exchange: Exchange, passed: int, outcome: Outcome) -> None:
        for at, done in self._dones:
            if at < passed:
                try:
                    if (pending := done(exchange, outcome)) is not None:
                        await pending
                except Exception:  # the response is out, and the other policies have something to release too
                    logger.exception("%s.done failed", type(self.policies[at]).__name__)


async def _awaited(verdict: Verdict | Awaitable[Verdict]) -> Verdict:
    return verdict if isinstance(verdict, Reply) or verdict is None else await verdict


def _from_environment() -> Configured:
    from secguard.settings import Settings  # noqa: PLC0415 - settings assembles what this module defines

    return Settings()


def _common_context(policies: Sequence[Policy]) -> Context:
    contexts = {id(policy.context): policy.context for policy in policies}
    if len(contexts) > 1:
        raise ValueError("the policies of one Guard share one Context: give them the same object")
    return next(iter(contexts.values()), Context())


def _rooted(app: object) -> Rooted | None:
    """Find the app behind what wraps it that sets its own root path, as FastAPI does in place of the server's."""
    for _ in range(DEEPEST):
        app = getattr(app, "__self__", app)  # the bound method that protect() wraps
        if isinstance(app, Starlette):  # what others call a root path is something else: Quart's is a folder
            return cast("Rooted", app) if hasattr(app, "root_path") else None
        app = getattr(app, "app", None)
    return None
