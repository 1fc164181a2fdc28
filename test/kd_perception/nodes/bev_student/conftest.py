"""Detectors that the tests of this folder share: one process for each configuration, not for each test."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from support.detector import Bench, SharedDetector
from support.fake_student import TEMPORAL_SPEC


@pytest.fixture(scope="session")
def shared_detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedDetector]:
    folder = tmp_path_factory.mktemp("detector")
    with closing(SharedDetector(folder, output_messages=("kd", "vision", "autoware"))) as shared:
        yield shared


@pytest.fixture
def detector(shared_detector: SharedDetector) -> Bench:
    """A single-frame detector of three cameras that works; tests leave it as they found it."""
    return shared_detector.ready()


@pytest.fixture(scope="session")
def shared_temporal_detector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedDetector]:
    folder = tmp_path_factory.mktemp("temporal_detector")
    with closing(SharedDetector(folder, spec=TEMPORAL_SPEC, sync_deadline_ms=1500.0)) as shared:
        yield shared


@pytest.fixture
def temporal_detector(shared_temporal_detector: SharedDetector) -> Bench:
    """A detector with memory that works; tests leave it as they found it."""
    return shared_temporal_detector.ready()
