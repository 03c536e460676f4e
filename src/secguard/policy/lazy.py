"""Values that are computed when somebody reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class lazy(Generic[T]):  # noqa: N801 - it reads as a decorator, as functools.cached_property does
    """A value computed on first read and kept on the instance: functools.cached_property without 3.11's lock."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute = compute
        self.name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Self | T:
        if instance is None:
            return self
        value = self.compute(instance)
        setattr(instance, self.name, value)
        return value

    if TYPE_CHECKING:  # an instance may set it beforehand: there is no `__set__` to keep it from that

        def __set__(self, instance: object, value: T) -> None: ...
