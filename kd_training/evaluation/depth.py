"""How well a student's depth network knows the range of LiDAR returns, on scenes that it did not train on."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional

from kd_perception.atomic import write_text
from kd_perception.errors import DataError
from kd_training.config.sections import AugmentConfig
from kd_training.data.augment import draw_augmentation
from kd_training.data.batches import collate
from kd_training.data.frames import Dataset, TrainingFrame
from kd_training.data.lidar_source import LidarSource
from kd_training.data.samples import SampleReader
from kd_training.data.targets import NO_DEPTH
from kd_training.models.students.bevdet import BevDet

DEPTH_FILE = "depth.json"
UNCHANGED = AugmentConfig(
    mirror=False, bev_rotation=0.0, image_scale=0.0, image_rotation=0.0, colour=0.0, camera_drop=0.0
)


@dataclass(frozen=True)
class DepthAccuracy:
    """Over all feature pixels with a LiDAR return: their number, the mean cross-entropy in nats, and the shares whose
    most probable bin is the return's (`exact`), or that or a neighbour (`within_one`)."""

    pixels: int
    cross_entropy: float
    exact: float
    within_one: float

    def __str__(self) -> str:
        return (
            f"depth at {self.pixels} LiDAR returns: cross-entropy {self.cross_entropy:.3f}, most probable bin right in "
            f"{100 * self.exact:.1f} %, within one bin in {100 * self.within_one:.1f} %"
        )


def evaluate_depth(model: BevDet, dataset: Dataset, out: Path) -> DepthAccuracy:
    """Compare predicted range bins with every keyframe's returns; writes `depth.json` into `out`.

    Raises DataError if no keyframe has a return in an image.
    """
    model.eval()
    reader, sums = SampleReader(model.spec, LidarSource(0)), np.zeros(4)
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bars, torch.inference_mode():
        for frame in bars.track(dataset.frames):
            sums += _sums(model, reader, frame)
    if not sums[0]:
        raise DataError(f"no LiDAR return of {dataset.nusc.dataroot} is in an image; depth needs sets with a LiDAR")
    found = DepthAccuracy(int(sums[0]), *(float(value) for value in sums[1:] / sums[0]))
    write_text(out / DEPTH_FILE, json.dumps(asdict(found), indent=1) + "\n")
    return found


def _sums(model: BevDet, reader: SampleReader, frame: TrainingFrame) -> np.ndarray:
    """One keyframe's number of returns, and sums over them (4,), in the order of DepthAccuracy."""
    unchanged = draw_augmentation(np.random.default_rng(0), UNCHANGED, len(frame.cameras), model.spec.image_size)
    sample = reader.read(frame, unchanged)
    logits = model.lift(collate([sample], model.spec).inputs.cameras).logits
    return depth_sums(logits, torch.from_numpy(sample.depth))


def depth_sums(logits: Tensor, labels: Tensor) -> np.ndarray:
    """Sums (4,) over labelled pixels of logits (N, D, h, w) and labels (N, h, w), in the order of DepthAccuracy."""
    known = labels != NO_DEPTH
    rows, wanted = logits.permute(0, 2, 3, 1)[known].float(), labels[known]
    wrong = (rows.argmax(dim=1) - wanted).abs() if len(rows) else wanted
    entropy = functional.cross_entropy(rows, wanted, reduction="sum")
    return np.array([len(rows), float(entropy), int((wrong == 0).sum()), int((wrong <= 1).sum())])
