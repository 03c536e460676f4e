"""The `rate_limit` section."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from secguard._networks import check_network, check_once
from secguard._paths import PathPattern
from secguard.policy import Exchange, RefusingSection, Reply, Section
from secguard.policy.section import COMMAS, Several
from secguard.rate_limit.grammar import Cost, Key, Limits, Method, Status, read_limit
from secguard.store.memory import MAX_KEYS
from secguard.store.quota import Standing, Strategy
from secguard.store.shared import check_storage

OnStoreError: TypeAlias = Literal["memory", "allow", "deny"]
Dialect: TypeAlias = Literal["draft-11", "draft-7", "x-ratelimit", "off"]
Refusal: TypeAlias = Callable[[Exchange, Sequence[Standing]], Reply | Awaitable[Reply]]

DEFAULT: Final = "default"
_MOST_EXACT: Final = 100_000  # units of a moving window


def _check_storage(url: str) -> str:
    check_storage(url)
    return url


def _check_networks(networks: Sequence[str]) -> Sequence[str]:
    check_once("exempt.networks", networks)
    return networks


class RateLimitExempt(Section):
    """Who is not counted at all.

    Example:
        >>> RateLimitExempt(paths=["/health"], networks=["10.0.0.0/8"]).paths
        ('/health',)
    """

    paths: Annotated[Several[PathPattern], COMMAS] = ()
    """Path patterns, compared with the path as routed."""
    networks: Annotated[
        Several[Annotated[str, AfterValidator(check_network)]], COMMAS, AfterValidator(_check_networks)
    ] = ()
    """Networks (CIDR) and addresses, compared with the client's address."""


class RateLimitRule(Section):
    """What is counted under some paths, in the place of `default`.

    Raises:
        ValidationError: see `RateLimitSettings`; there is no path, or one that is no pattern (`path-pattern`), or no
            limit.

    Example:
        >>> RateLimitRule(paths=["/login"], methods=["POST"], limits="5/minute; 20/hour", statuses=[401]).limits
        ('5/minute', '20/hour')
    """

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[ !#-\[\]-~]+$")] | None = None
    """What clients are told it is called. Rules of one name share one count. Unset: a count of its own."""
    paths: Annotated[Several[PathPattern], COMMAS, Field(min_length=1)]
    """Path patterns, compared with every path that the request may be served as."""
    methods: Annotated[Several[Method], COMMAS] = ()
    """Methods that it is for; all, where none is named. `GET` is for `HEAD` too, and for a websocket's handshake."""
    limits: Annotated[Limits, Field(min_length=1)]
    """Limits that hold together: a request that one of them refuses counts for none."""
    key: Key | None = None
    """What is counted by; as the section has it where unset."""
    cost: Cost | None = None
    """Units that a request takes; as the section has it where unset."""
    statuses: Annotated[Several[Status], COMMAS] = ()
    """Answers that count, such as `401` or `4xx`. What is answered otherwise gets its units back. Unset: all count."""
    on_store_error: OnStoreError | None = None
    """What to do without a store; as the section has it where unset."""


class RateLimitSettings(RefusingSection):
    """How many requests are let in, for whom.

    Raises:
        ValidationError: a limit is none (`rate-limit-string`) or makes another one pointless (`rate-limit-window`),
            there is nothing like such a key, status or method (`rate-limit-key`, `rate-limit-status`,
            `rate-limit-method`), rules of one name differ (`rate-limit-name`), a cost is above a limit
            (`rate-limit-cost`), a limit is too much for the strategy (`rate-limit-moving`), or the storage is none that
            can be used (`rate-limit-storage`).

    Example:
        >>> login = RateLimitRule(paths=["/login"], methods=["POST"], limits="5/minute")
        >>> RateLimitSettings(default="100/minute", rules=[login]).strategy
        'sliding-window'
    """

    default: Limits = ()
    """Limits for every request that no rule is for, such as `100/minute` or `10/second; 1000/hour`."""
    key: Key = "ip"
    """What is counted by: `ip`, `user`, `session`, `global`, `header:NAME`, or in code a function of the Exchange."""
    cost: Cost = 1
    """Units that a request takes. In code also a function of the Exchange."""
    rules: Several[RateLimitRule] = ()
    """Limits by path and method, in the place of `default`. Of several that match, the most specific decides."""
    exempt: RateLimitExempt = RateLimitExempt()
    """Who is not counted at all."""
    storage: Annotated[str, AfterValidator(_check_storage)] = "memory://"
    """Where counts live: `memory://` of each process, `redis://…`, `valkey://…`, or any other scheme of `limits`."""
    strategy: Strategy = "sliding-window"
    """How a window moves: `sliding-window` (a counter), `moving-window` (exact, 8 bytes a unit) or `fixed-window`."""
    headers: Dialect = "draft-11"
    """What answers tell of their limits: `draft-11` or `draft-7` of the IETF's, `x-ratelimit`, or `off`."""
    on_store_error: OnStoreError = "memory"
    """What to do while the store is out: count in each process, `allow`, or `deny` with 503."""
    ipv6_prefix: int = Field(default=64, ge=32, le=128)
    """Bits of an IPv6 address that are one client: 64 is one network, in which a host takes addresses as it likes."""
    max_keys: int = Field(default=MAX_KEYS, ge=1)
    """Keys that are counted in memory at once; new ones share one count beyond."""
    jitter: float = Field(default=0, ge=0, allow_inf_nan=False)
    """Seconds, at most, that are added to Retry-After by lot, so that clients do not all come back at once."""
    store_timeout: float = Field(default=0.05, gt=0, allow_inf_nan=False)
    """Seconds that a shared store may take for its answer."""
    pool_size: int = Field(default=16, ge=1)
    """Connections to a shared store, in each process."""
    refusal: Refusal | None = None
    """In code: makes the answer to a refused request, given the Exchange and how its quotas stand."""

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        check_storage(self.storage, (self.strategy,))
        shared: dict[str, tuple[Any, ...]] = {}
        for rule in self.rules:
            what = (rule.limits, rule.key or self.key)
            if shared.setdefault(self.bucket(rule), what) != what or rule.name == DEFAULT:
                raise PydanticCustomError(
                    "rate-limit-name",
                    "{name} names two that differ: what shares a count has the same limits and the same key",
                    {"name": repr(self.bucket(rule))},
                )
        self._check_amounts(self.default, self.cost)
        for rule in self.rules:
            self._check_amounts(rule.limits, self.cost_of(rule))
        return self

    def _check_amounts(self, limits: Sequence[str], cost: Cost) -> None:
        for limit in limits:
            amount, _ = read_limit(limit)
            if isinstance(cost, int) and cost > amount:
                raise PydanticCustomError(
                    "rate-limit-cost",
                    "a cost of {cost} never fits into {limit}: no request would pass",
                    {"cost": cost, "limit": limit},
                )
            if self.strategy == "moving-window" and amount > _MOST_EXACT:
                raise PydanticCustomError(
                    "rate-limit-moving",
                    "{limit} is too much for moving-window, which keeps 8 bytes for each unit of each key: "
                    "write sliding-window, or {most} at most",
                    {"limit": limit, "most": _MOST_EXACT},
                )

    def counted_by(self) -> Iterator[tuple[tuple[str | int, ...], Key]]:
        """Yield every key that somebody wrote, with its place."""
        yield ("key",), self.key
        yield from ((("rules", at, "key"), rule.key) for at, rule in enumerate(self.rules) if rule.key is not None)

    def cost_of(self, rule: RateLimitRule) -> Cost:
        """Return what a request costs under a rule."""
        return self.cost if rule.cost is None else rule.cost

    @staticmethod
    def bucket(rule: RateLimitRule) -> str:
        """Return what names the count of a rule: its name, or else what it is for."""
        return rule.name or " ".join(filter(None, (",".join(rule.methods), ",".join(rule.paths))))
