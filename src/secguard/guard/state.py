"""What an endpoint finds on `request.state`: what was put there, and what policies offer."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from secguard.policy import Exchange, Offers


class OfferingState(MutableMapping[str, Any]):
    """The state of a scope, with what policies offer besides: made when it is read, and never listed.

    It stands in front of the dict that was there, which whoever holds it goes on sharing. What somebody puts there
    hides an offer of the same name. Of several Guards, the innermost makes the first offer.
    """

    __slots__ = ("_exchange", "_held", "_offers", "_outer")

    def __init__(self, offers: Offers, exchange: Exchange, state: MutableMapping[str, Any] | None) -> None:
        self._offers = offers
        self._exchange = exchange
        # `type`, for `isinstance` asks the abstract base class, and costs as much as all else here.
        self._outer = state if type(state) is OfferingState else None
        held = state if self._outer is None else self._outer._held
        self._held: MutableMapping[str, Any] = {} if held is None else held

    def __getitem__(self, name: str) -> Any:
        held = self._held
        if name in held:
            return held[name]
        make = self._offers.get(name)
        if make is not None:
            return make(self._exchange)
        if self._outer is not None:
            return self._outer[name]
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return name in self._held or name in self._offers or (self._outer is not None and name in self._outer)

    def __setitem__(self, name: str, value: Any) -> None:
        self._held[name] = value

    def __delitem__(self, name: str) -> None:
        del self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)
