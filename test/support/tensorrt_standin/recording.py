"""Notes which methods and properties of the stand-in are used, and with which arguments."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

calls: set[tuple[str, str, tuple[str, ...]]] = set()  # class, method, names of the arguments given
properties: set[tuple[str, str]] = set()  # class, property


def recorded(method: Callable) -> Callable:
    """Note the class, the method and its arguments; `method`'s parameters are named as in the bindings."""
    signature = inspect.signature(method)

    @wraps(method)
    def call(self: Any, *arguments: Any) -> Any:
        given = list(signature.bind(self, *arguments).arguments)[1:]
        variable = [name for name in given if signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL]
        assert not variable
        calls.add((type(self).__name__, method.__name__, tuple(given)))
        return method(self, *arguments)

    return call


class recorded_property(property):  # noqa: N801 (used as `property` is)
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        properties.add((owner.__name__, self.fget.__name__))
        return super().__get__(instance, owner)

    def __set__(self, instance: Any, value: Any) -> None:
        properties.add((type(instance).__name__, self.fget.__name__))
        super().__set__(instance, value)
