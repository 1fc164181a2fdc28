"""Which tensors of a checkpoint became which of the model, by name, and which did not."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from io import StringIO

from rich.console import Console
from rich.table import Column, Table
from torch import Tensor

WIDTH = 80  # columns of the table
MAPPED = "mapped"
COUNTER = "num_batches_tracked"  # of batch norms: nothing reads it


@dataclass(frozen=True)
class Pair:
    """A tensor of the model and how it is made of tensors of the checkpoint, given in the order of `sources`."""

    target: str
    sources: tuple[str, ...]
    make: Callable[..., Tensor] = lambda value: value


@dataclass
class Coverage:
    """What became of every tensor.

    made: the model's, by name; sources: what each was made of. missing: of the model, with what it lacks; unfit: of the
    model, with the shapes; left_over: of the checkpoint.
    """

    made: dict[str, Tensor] = field(default_factory=dict)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    unfit: dict[str, str] = field(default_factory=dict)
    left_over: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every tensor of both sides is accounted for."""
        return not (self.missing or self.unfit or self.left_over)

    @property
    def summary(self) -> str:
        """In numbers."""
        return (
            f"{len(self.made)} mapped, {len(self.missing)} missing, {len(self.unfit)} of another shape, "
            f"{len(self.left_over)} left over"
        )

    def rows(self) -> list[tuple[str, str, list[str]]]:
        """What became of it, its name, and more about it: of every tensor, those with a problem first."""
        return [
            *(("missing", name, [f"lacks {lacks}"]) for name, lacks in self.missing.items()),
            *(("shape", name, [shapes]) for name, shapes in self.unfit.items()),
            *(("left over", name, []) for name in self.left_over),
            *((MAPPED, name, [f"< {source}" for source in self.sources[name]]) for name in self.made),
        ]


def cover(
    given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], pairs: Iterable[Pair], ignored: Iterable[str] = ()
) -> Coverage:
    """Make what the pairs say of `given` for a model of `wanted`; `ignored` are names that are no weights."""
    found, used = Coverage(), set(ignored)
    planned = {pair.target: pair for pair in pairs}
    for name, own in wanted.items():
        pair = planned.get(name)
        if pair is None and name.endswith(COUNTER):
            found.made[name], found.sources[name] = own, ("(a counter)",)
            continue
        lacking = [source for source in pair.sources if source not in given] if pair else []
        if pair is None or lacking:
            found.missing[name] = lacking[0] if lacking else "a counterpart"
            continue
        used.update(pair.sources)
        try:
            value = pair.make(*(given[source].float() for source in pair.sources))
        except (RuntimeError, IndexError, ValueError, TypeError):
            value = None  # shapes of the sources that do not go together
        if value is None or value.shape != own.shape:
            found.unfit[name] = _shapes([given[source] for source in pair.sources], value, own)
        else:
            found.made[name], found.sources[name] = value.to(own.dtype).contiguous(), pair.sources
    found.left_over = [name for name in given if name not in used and not name.endswith(COUNTER)]
    return found


def table_text(coverage: Coverage, *, problems_only: bool = False) -> str:
    """Every tensor in a table of 80 columns, or those that are not mapped."""
    stream = StringIO()
    table = Table("is", Column("tensor of the model (< of the checkpoint)", overflow="fold"), box=None, padding=(0, 1))
    rows = [row for row in coverage.rows() if not (problems_only and row[0] == MAPPED)]
    for state, name, more in rows:
        table.add_row(state, "\n".join([name, *more]))
    Console(file=stream, width=WIDTH, color_system=None).print(table)
    lines = stream.getvalue().splitlines() if rows else []
    return "".join(f"{line.rstrip()}\n" for line in (coverage.summary, *lines))


def _shapes(sources: list[Tensor], made: Tensor | None, own: Tensor) -> str:
    """The shapes that do not fit; where a turn of the axes would make them fit, that too."""
    shape = tuple((sources[0] if made is None else made).shape)
    turned = ", as if transposed" if sorted(shape) == sorted(own.shape) and made is not None else ""
    return f"{shape}, not {tuple(own.shape)}{turned}"
