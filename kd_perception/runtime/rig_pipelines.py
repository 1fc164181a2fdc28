"""A student's pipelines for rigs of several numbers of cameras: a data set may mix rigs, an engine takes one number."""

from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from kd_perception.engines.protocol import Engine
from kd_perception.options.detector import DetectorOptions
from kd_perception.runtime.pipeline import PIPELINE_DEFAULTS, Pipeline, PipelineOptions
from kd_perception.student.spec import Student


@dataclass(frozen=True)
class RigPipelines:
    """Opens a pipeline for each number of cameras that is asked for, once; a context that closes them all."""

    student: Student
    engine: str | Engine = DetectorOptions.engine
    options: PipelineOptions = PIPELINE_DEFAULTS
    _opened: dict[int, Pipeline] = field(default_factory=dict, init=False, repr=False)

    def of(self, cameras: int) -> Pipeline:
        """The pipeline for rigs of so many cameras; raises as Pipeline does when it opens an engine."""
        if cameras not in self._opened:
            self._opened[cameras] = Pipeline(self.student, self.engine, cameras, self.options)
        return self._opened[cameras]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipeline in self._opened.values():
            pipeline.close()
