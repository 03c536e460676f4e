"""Limits that a route has of its own, from code.

1. They count in the store of the Guard around the app, answer with its refusals, and are told of in its headers.
2. Nothing looks for routes: a limit works where its code runs, on routers that are included and on apps that are
   mounted, over http and websocket.
3. A limit without a name counts each endpoint by itself. With a name, whatever has it counts together.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from inspect import iscoroutinefunction, signature
from typing import Any, Final, ParamSpec, TypedDict, Unpack, cast
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException, WebSocketException
from starlette.requests import HTTPConnection
from starlette.types import Scope

from secguard.guard import Guard
from secguard.guard.traffic import Delivery
from secguard.policy import Exchange
from secguard.policy.exchange import name_of
from secguard.rate_limit.grammar import Cost, Key
from secguard.rate_limit.plans import UNQUOTED
from secguard.rate_limit.policy import RateLimitPolicy
from secguard.rate_limit.settings import OnStoreError, RateLimitRule

P = ParamSpec("P")

_CLOSE_CODE: Final = 1013
_UNPROTECTED: Final = (
    "a route has a limit, and nobody counts: switch the section on (SECGUARD_RATE_LIMIT=on), and call protect(app)"
)


class LimitOptions(TypedDict, total=False):
    """The keywords of a limit on a route: fields of `RateLimitRule`."""

    name: str
    key: Key
    cost: Cost
    statuses: Sequence[int | str]
    on_store_error: OnStoreError


class Limit:
    """Limits for whatever awaits `take`, such as an endpoint, or the messages of a websocket.

    `limits` is written like `5/minute` or `10/second; 1000/hour`. `key`, `cost`, `statuses` and `on_store_error` are
    those of a rule in the settings.

    Raises:
        ValidationError: see `RateLimitRule`.

    Example:
        >>> chat = Limit("20/second", name="chat")
        >>> async def talk(websocket):
        ...     async for text in websocket.iter_text():
        ...         await chat.take(websocket)
    """

    def __init__(self, limits: str | Sequence[str], **options: Unpack[LimitOptions]) -> None:
        self.rule = RateLimitRule.model_validate({"paths": ["/"], "limits": limits, **options})

    async def take(self, connection: HTTPConnection, key: str | None = None) -> None:
        """Count the request, or a message of the websocket, and refuse what is too much.

        `key` is what to count by in the place of what the request itself says, such as a name that stands in its body.
        A refusal is sent at once. Over http it is the Guard's, and so are its headers; a websocket that is open is
        closed with code 1013.

        Raises:
            HTTPException: it was refused; its client knows by now, and whatever is made of this goes nowhere.
            WebSocketException: the same, on a websocket.
            RuntimeError: there is no `rate_limit` section around the app.
        """
        scope = connection.scope
        delivery, guard, policy = found(scope)
        exchange = delivery.exchange
        if "user" in scope:
            exchange.user = name_of(scope["user"])  # an authentication inside has found it
        plan = policy.plans.of_route(self.rule, *self._place(scope))
        written = None if key is None else policy.identities.written(plan.key, key)
        verdict = policy.judge(exchange, (plan,), written)
        if await guard.step_in(delivery, policy, verdict, scope):
            raise WebSocketException(_CLOSE_CODE) if scope["type"] == "websocket" else HTTPException(429)

    def _place(self, scope: Scope) -> tuple[str, str]:
        """Return what is counted together, and what clients are told of it: never anything that a client wrote."""
        if self.rule.name is not None:
            return self.rule.name, self.rule.name
        endpoint, path = scope.get("endpoint"), getattr(scope.get("route"), "path", "") or ""
        endpoint = getattr(endpoint, "func", endpoint)  # of a functools.partial
        name = getattr(endpoint, "__qualname__", type(endpoint).__qualname__)
        label = path or name.rpartition(".")[2]
        key = self.rule.key if isinstance(self.rule.key, str) else ""
        return f"{getattr(endpoint, '__module__', '')}.{name} {path} {key}", quote(label, safe=UNQUOTED)


def limited(
    limits: str | Sequence[str], **options: Unpack[LimitOptions]
) -> Callable[[Callable[P, Any]], Callable[P, Coroutine[Any, Any, Any]]]:
    """Limit a Starlette endpoint: a function, or a method of an HTTPEndpoint or WebSocketEndpoint.

    In FastAPI, `Depends(limit(...))` does the same, and stands in the OpenAPI schema.

    Raises:
        TypeError: the endpoint takes no request.

    Example:
        >>> @limited("5/minute", statuses=[401])
        ... async def login(request):
        ...     return Response(status_code=401)
    """
    limit = Limit(limits, **options)

    def decorate(endpoint: Callable[P, Any]) -> Callable[P, Coroutine[Any, Any, Any]]:
        if not signature(endpoint).parameters:
            raise TypeError(f"{endpoint.__qualname__} takes no request that could be counted")

        @wraps(endpoint)
        async def counted(*args: P.args, **kwargs: P.kwargs) -> Any:
            connection = next((it for it in (*args, *kwargs.values()) if isinstance(it, HTTPConnection)), None)
            if connection is None:
                raise TypeError(f"{endpoint.__qualname__} takes no request that could be counted")
            await limit.take(connection)
            if iscoroutinefunction(endpoint):
                return await endpoint(*args, **kwargs)
            return await run_in_threadpool(endpoint, *args, **kwargs)

        return counted

    return decorate


def found(scope: Scope) -> tuple[Delivery, Guard, RateLimitPolicy]:
    """Return where the answer goes, the Guard around the app that counts, and its policy that does.

    Raises:
        RuntimeError: there is none.
    """
    exchange: Exchange | None = scope.get("secguard")
    while exchange is not None and exchange.delivery is None:
        exchange = exchange.outer
    if exchange is None:
        raise RuntimeError(_UNPROTECTED)
    delivery: Delivery = exchange.delivery
    guard = cast("Guard", delivery.guard)
    return delivery, guard, next(policy for policy in guard.policies if isinstance(policy, RateLimitPolicy))
