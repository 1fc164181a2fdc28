"""Things kept in memory within a budget of bytes."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """Values by key; what was not used for longest goes first."""

    def __init__(self, budget: int) -> None:
        self.budget, self.used = budget, 0
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> Value | None:
        """The value, or None if it is not there (any more)."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Keep a new value of `size` bytes, unless it alone is over the budget."""
        if size > self.budget:
            return
        self._values[key] = value, size
        self.used += size
        while self.used > self.budget:
            self.used -= self._values.popitem(last=False)[1][1]
