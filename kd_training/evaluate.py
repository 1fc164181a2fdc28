"""The nuScenes metric of a model in memory: the same preprocessing, tables, decoding and metric as `kd eval` runs on a
student file."""

from pathlib import Path

import torch
from rich.progress import track

from kd_perception.decode import decode
from kd_perception.evaluation.metric import Metrics, evaluate_results
from kd_perception.evaluation.results import sample_result, write_results
from kd_perception.preprocess import fit_image, network_image
from kd_perception.view_tables import build_tables
from kd_training.data.frames import Dataset, TrainingFrame
from kd_training.students.bevdet import BevDet

SCORE_THRESHOLD = 0.02
RESULTS_FILE = "results.json"


def evaluate_model(model: BevDet, dataset: Dataset, out: Path) -> Metrics:
    """Detect on every frame of the data set and evaluate; writes results.json and metrics_summary.json into `out`."""
    model = model.eval()
    results = {}
    for frame in track(dataset.frames, description="evaluating", transient=True):
        heatmap, regression = _run(model, frame)
        boxes = decode(heatmap, regression, model.spec.grid, SCORE_THRESHOLD)
        results[frame.frame.sample_token] = sample_result(frame.frame.sample_token, boxes, frame.frame.global_from_ego)
    write_results(out / RESULTS_FILE, results)
    return evaluate_results(dataset.nusc, out / RESULTS_FILE, list(dataset.scenes), out / "metrics_summary.json")


@torch.inference_mode()
def _run(model: BevDet, frame: TrainingFrame) -> tuple:
    sizes = [(camera.height, camera.width) for camera in frame.cameras]
    affines = [fit_image(size, model.spec.image_size) for size in sizes]
    images = [
        network_image(image.path.read_bytes(), size, affine, model.spec.image_size)
        for image, size, affine in zip(frame.frame.images, sizes, affines, strict=True)
    ]
    tables = build_tables(model.spec, frame.cameras, affines)
    inputs = [torch.from_numpy(tables[name]) for name in model.view.table_names]
    stacked = torch.stack([torch.from_numpy(image) for image in images])
    return tuple(value.numpy() for value in model(stacked, torch.ones(len(images)), *inputs))
