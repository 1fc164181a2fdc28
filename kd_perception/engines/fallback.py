"""Engines in order of preference: when one fails, the next takes over, at the start and while running."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kd_perception.engines.protocol import Engine, Tensor, ignore
from kd_perception.errors import EngineError, EngineNotInstalledError, InputError, MemoryLostError, was_interrupted


class FallbackEngine:
    """The first of several engines that works; an Engine itself.

    One that raises while running is given up for good: the next is opened and runs the same frame, which takes as
    long as opening takes. failures: one sentence for each engine given up while running.
    """

    def __init__(
        self, names: Sequence[str], open_one: Callable[[str], Engine], report: Callable[[str], None] = ignore
    ) -> None:
        """Open the first of `names` that `open_one` can; raises EngineError naming what was tried and why it failed."""
        self.failures: tuple[str, ...] = ()
        self._waiting = list(names)
        self._open_one = open_one
        self._report = report
        self._engine = self._open_next()

    @property
    def name(self) -> str:
        """Name of the engine in use."""
        return self._engine.name

    @property
    def not_kept(self) -> str:
        """As that of the engine in use."""
        return self._engine.not_kept

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named inputs -> named outputs, by the next engine if this one fails.

        Raises InputError as the engine did; EngineError if no engine is left (the last one is tried again in the next
        frame); MemoryLostError if an input was held by the engine that failed and cannot be read any more: run the
        frame again without memory.
        """
        while True:
            try:
                return self._engine.run(inputs)
            except InputError:
                raise
            except Exception as error:  # engines raise their libraries' own types
                inputs = self._switch(inputs, error)

    def _switch(self, inputs: Mapping[str, Tensor], error: Exception) -> dict[str, Tensor]:
        """Replace the engine; the inputs as arrays on the host, which every engine takes."""
        reason = str(error).strip() or type(error).__name__
        failed = self._engine.name
        try:
            self._engine = self._open_next()
        except EngineError as refusal:
            raise EngineError(f"engine {failed} failed while running ({reason}); {refusal}") from error
        sentence = f"engine {failed} failed while running ({reason}); engine {self._engine.name} runs from now on"
        self.failures += (sentence,)
        try:
            return {name: value if isinstance(value, np.ndarray) else value.numpy() for name, value in inputs.items()}
        except EngineError as lost:
            raise MemoryLostError(f"engine {failed} failed, and the temporal memory with it ({lost})") from error

    def _open_next(self) -> Engine:
        refusals = []
        while self._waiting:
            name = self._waiting.pop(0)
            try:
                engine = self._open_one(name)
            except (ImportError, EngineError) as error:
                if was_interrupted(error):
                    raise KeyboardInterrupt from error
                refusals.append((f"{name}: {error}", isinstance(error, EngineNotInstalledError)))
                continue
            for refusal, unasked in refusals:
                if not unasked:
                    self._report(f"engine {refusal}; engine {name} runs instead")
            return engine
        raise EngineError("; ".join(refusal for refusal, _ in refusals) or "no other engine is left to take over")
