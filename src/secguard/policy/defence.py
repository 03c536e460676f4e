"""The Policy: one defence, as a pure object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from secguard._http import Declared, Lines
from secguard._paths import Matched, PathRules
from secguard.policy.context import Context, Reply
from secguard.policy.exchange import Exchange
from secguard.policy.section import RefusingSection, Section

Message: TypeAlias = MutableMapping[str, Any]
Verdict: TypeAlias = Reply | None
Offers: TypeAlias = Mapping[str, Callable[[Exchange], object]]

Looker: TypeAlias = Callable[[Message], Reply | bool]

NO_RULES: Final = PathRules(())


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """A time in seconds, and what makes the Reply once it is over."""

    seconds: float
    reply: Callable[[Exchange], Reply]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an Exchange: the status sent, if any (101 for an accepted websocket), and the error, if any."""

    status: int | None
    error: BaseException | None = None


class Policy:
    """One defence. A subclass overrides the hooks it needs; those it leaves alone are never called.

    Each hook is a plain function, or `async def` where it truly awaits.

    Example:
        >>> class Teapot(Policy):
        ...     def admit(self, exchange):
        ...         return Reply(418) if exchange.path == "/coffee" else None
    """

    section: Section | None = None
    context: Context
    rules: PathRules = NO_RULES
    """The path patterns that `declare` depends on. A rule applies to the path as routed."""
    offers: Offers = MappingProxyType({})
    """What endpoints find on `request.state`, by name, and how it is made when it is read."""
    sets: frozenset[bytes] | None = None
    """The names that `finish` sets, where it sets no others: lines of other names need not wait for it."""
    reads_headers: bool = True
    """Whether most requests are judged by their headers: a Guard in which nobody does need not sort them."""
    steps_in: bool = False
    """Whether endpoints find it by their Exchange's `delivery`, to ask for a refusal of their own."""
    unneeded: frozenset[str] = frozenset()
    """Hooks that its class overrides, and that its section has no use for: they are never called."""

    def __init__(self, context: Context | None = None) -> None:
        self.context = context or Context()

    @property
    def rehearses(self) -> bool:
        """Whether refusals only leave their Event: the section's mode, or everybody's."""
        own = self.section.mode if isinstance(self.section, RefusingSection) else "enforce"
        return "report" in (own, self.context.mode)

    def declare(self, secure: bool, matched: Matched) -> Iterable[Declared]:
        """Return the header lines of every response on this scheme to a path that matches these `rules`."""
        return ()

    def admit(self, exchange: Exchange) -> Verdict | Awaitable[Verdict]:
        """Return None to let the request pass, or the Reply to send instead of the app's."""

    def finish(self, exchange: Exchange, headers: Lines) -> Awaitable[None] | None:
        """Edit, in place, the headers of the response that is about to start."""

    def revise(self, exchange: Exchange, headers: Lines) -> Awaitable[None] | None:
        """Set, in place, what `declare` would have, for an answer of its own: the exchange was touched, or it is a 304.

        A 304 updates the headers of a response that somebody has stored (RFC 9111 section 3.2).
        """

    def on_receive(self, exchange: Exchange, message: Message) -> Verdict | Awaitable[Verdict]:
        """Look at a message on its way to the app, unless it says that the client is gone. A Reply ends the exchange.

        Where this awaits and the app stops waiting meanwhile, it is called again with the same message.
        """

    def look_ahead(self, exchange: Exchange) -> Looker | None:
        """Return what is to see the body before the app runs, or None where nobody needs to. For http only.

        It is called with each message in turn, the client's leaving included, and returns False to see the next one,
        True when it has seen enough, or a Reply. The app then receives the same messages, in order.
        """

    def patience(self, exchange: Exchange) -> TimeLimit | None:
        """Return how long the app may wait for the next message; asked before each. A Reply ends the exchange.

        On a websocket the time begins anew with whatever the app sends.
        """

    def on_wait(self, exchange: Exchange, seconds: float, message: Message | None) -> None:
        """Learn how long a wait took, and what came; None where the time ran out or the app gave up.

        It makes no difference whether the app waited or a policy that looks ahead.
        """

    def limit(self, exchange: Exchange) -> TimeLimit | None:
        """Return how long the app may take until its answer is complete. Then the Reply is sent, and the app cancelled.

        Work that goes on after the answer, such as background tasks, is not cut short. Asked once, for http only.
        """

    def meet(self, app: object) -> None:
        """Look at the app inside, once it is put together. It may be called again when there is more to see."""

    def done(self, exchange: Exchange, outcome: Outcome) -> Awaitable[None] | None:
        """Release what `admit` took."""

    async def open(self) -> None:
        """Take up what outlives a request, such as a store's connections. Called once, when the server starts."""

    async def close(self) -> None:
        """Give back what `open` took up. Called once, when the server stops."""
