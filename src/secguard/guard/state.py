"""What an endpoint finds on `request.state`: what was put there, and what policies offer."""

from __future__ import annotations

from typing import Any, SupportsIndex

from secguard.policy import Exchange, Offers


class OfferingState(dict[str, Any]):
    """The state of a scope, with what policies offer besides: made when it is read, and never listed.

    It is a dict, for ASGI says so and apps ask, and holds what the one that was there held. Whoever has that one goes
    on sharing: what is written here is written there too. What somebody puts there hides an offer of the same name. Of
    several Guards, the innermost makes the first offer.
    """

    __slots__ = ("_exchange", "_offers", "_under")
    _exchange: Exchange
    _under: dict[str, Any]

    def __init__(self, offers: Offers, exchange: Exchange, under: dict[str, Any] | None) -> None:
        # An answer that has started takes no more offers: a scope may be served over and over again.
        while type(under) is OfferingState and under._exchange.status is not None:
            under = under._under
        if under:
            dict.update(self, under)
        self._offers = offers
        self._exchange = exchange
        self._under = {} if under is None else under

    def __missing__(self, name: str) -> Any:
        make = self._offers.get(name)
        return make(self._exchange) if make is not None else self._under[name]

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or name in self._offers or name in self._under

    def get(self, name: str, default: Any = None, /) -> Any:
        """Return what is there or on offer, or the default."""
        if name in self:
            return self[name]
        return default

    def setdefault(self, name: str, default: Any = None, /) -> Any:
        """Return what is there or on offer, or put the default there."""
        if name not in self:
            self[name] = default
        return self[name]

    def __setitem__(self, name: str, value: Any) -> None:
        dict.__setitem__(self, name, value)
        self._under[name] = value

    def __delitem__(self, name: str) -> None:
        dict.__delitem__(self, name)
        self._under.pop(name, None)

    def update(self, *others: Any, **named: Any) -> None:
        """Put all of this there."""
        new = dict(*others, **named)  # of what may be read once only
        dict.update(self, new)
        self._under.update(new)

    def __ior__(self, other: Any) -> OfferingState:  # type: ignore[override,misc]  # dict has overloads there
        self.update(other)
        return self

    def pop(self, name: str, *default: Any) -> Any:
        """Take out what somebody has put there."""
        value = dict.pop(self, name, *default)
        self._under.pop(name, None)
        return value

    def popitem(self) -> tuple[str, Any]:
        """Take out what was put there last."""
        name, value = dict.popitem(self)
        self._under.pop(name, None)
        return name, value

    def clear(self) -> None:
        """Take out everything that was put there."""
        dict.clear(self)
        self._under.clear()

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)  # a copy is nobody's state: it shares nothing, and offers nothing
