"""Geometry of both view transforms as the student file computes them, and equality of training and file form."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kd_perception.geometry.camera import Camera, ring_rig
from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import make_transform
from kd_perception.student.preprocess import fit_image, fit_views
from kd_perception.student.spec import DepthBins, StudentSpec, ViewSpec
from kd_perception.student.view_tables import build_tables
from kd_perception.student.view_tables.depth import bin_of_range
from kd_training.data.view_terms import view_terms
from kd_training.models.view import build_view, sum_terms

LENSES = {
    "none": (),
    "plumb_bob": (-0.25, 0.06, 0.001, -0.001, 0.0),
    "rational_polynomial": (7.3, 3.6, 1e-4, -2e-4, 0.18, 7.7, 6.0, 1.1),
    "equidistant": (0.03, -0.002, 0.0, 0.0),
}


def make_spec(kind: str) -> StudentSpec:
    view = ViewSpec(kind, 8, DepthBins(1.0, 1.0, 60, focal=210.0), (0.25, 0.75, 1.5, 2.5), (-2.0, 4.0))
    return StudentSpec(
        "test", BevGrid(-51.2, 51.2, -51.2, 51.2, 0.8), (128, 352), view, 6, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    )


def tilted_rig(cameras: int, model: str) -> list[Camera]:
    """704x256 cameras, turned a few degrees about every axis and moved up to 0.5 m; fisheyes are 704x528 and see
    200 degrees."""
    rng = np.random.default_rng(cameras)
    fisheye = model == "equidistant"
    rig = []
    for camera in ring_rig(cameras, 704, 528 if fisheye else 256):
        quaternion = np.array([1.0, *rng.uniform(-0.04, 0.04, 3)])
        pose = (
            make_transform(np.eye(3), rng.uniform(-0.5, 0.5, 3))
            @ camera.ego_from_camera
            @ make_transform(quaternion, np.zeros(3))
        )
        lens = {"distortion_model": model, "distortion": LENSES[model]}
        if fisheye:
            lens["intrinsics"] = np.array([[185.0, 0.0, 352.0], [0.0, 185.0, 264.0], [0.0, 0.0, 1.0]])
        rig.append(replace(camera, ego_from_camera=pose, **lens))
    return rig


def turned(camera: Camera, roll: float, down: float = 0.0) -> Camera:
    """The camera rolled about its axis, and tipped down, radians."""
    tip = make_transform([np.cos(-down / 2), np.sin(-down / 2), 0.0, 0.0], np.zeros(3))
    turn = make_transform([np.cos(roll / 2), 0.0, 0.0, np.sin(roll / 2)], np.zeros(3))
    return replace(camera, ego_from_camera=camera.ego_from_camera @ tip @ turn)


def odd_rig() -> list[Camera]:
    """Five cameras that have nothing in common: lenses, sizes, upside down, on its side, tipped down by 30 degrees."""
    front, left, back, right, low = ring_rig(5, 704, 256)
    fisheye = tilted_rig(1, "equidistant")[0]
    return [
        front,
        turned(replace(left, distortion_model="plumb_bob", distortion=LENSES["plumb_bob"]), np.pi),
        turned(replace(ring_rig(1, 480, 640)[0], ego_from_camera=back.ego_from_camera), np.pi / 2),
        replace(fisheye, ego_from_camera=right.ego_from_camera),
        turned(replace(ring_rig(1, 640, 480)[0], ego_from_camera=low.ego_from_camera), 0.0, np.radians(30.0)),
    ]


RIGS = {
    **{f"{count} without distortion": tilted_rig(count, "none") for count in (1, 2, 4, 8, 12)},
    **{f"6 {model}": tilted_rig(6, model) for model in ("none", "plumb_bob", "rational_polynomial")},
    **{f"{count} fisheyes": tilted_rig(count, "equidistant") for count in (1, 2, 4)},
    "5 odd ones": odd_rig(),
}


def see(
    spec: StudentSpec, rig: list[Camera], affines: list[np.ndarray], points: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """A feature of 1 and certain depth wherever a camera sees one of the points (N, 3); and which points are seen at
    all (N,).
    """
    seen_at_all = np.zeros(len(points), dtype=bool)
    probability, context = torch.zeros(len(rig), 60, 16, 44), torch.zeros(len(rig), 1, 16, 44)
    for index, (camera, affine) in enumerate(zip(rig, affines, strict=True)):
        uv, ranges, seen = camera.project(points)
        column, row = np.floor((uv @ affine[:2, :2].T + affine[:2, 2]) / 8).astype(int).T
        bins = bin_of_range(spec.view.depth, ranges, camera, affine)
        seen &= (column >= 0) & (column < 44) & (row >= 0) & (row < 16) & (bins >= 0) & (bins < 60)
        probability[index, bins[seen], row[seen], column[seen]] = 1.0
        context[index, 0, row[seen], column[seen]] = 1.0
        seen_at_all |= seen
    return probability, context, seen_at_all


@pytest.mark.parametrize("kind", ["pull", "splat"])
@pytest.mark.parametrize(("name", "views"), [*((name, 1) for name in RIGS), ("4 fisheyes", 3), ("5 odd ones", 2)])
def test_truth_lands_within_one_cell(kind, name, views):
    """Where cameras see an object 0.8 m across, features with certain depth: the BEV map lights up around the object's
    cell.
    """
    spec, rig = make_spec(kind), [camera for camera in RIGS[name] for _ in range(views)]
    affines = [affine for camera in RIGS[name] for affine in fit_views(camera, spec.image_size, views)]
    view = build_view(spec.grid, spec.view)
    tables = build_tables(spec, rig, affines)
    inputs = [torch.from_numpy(tables[name]) for name in view.table_names]
    rng = np.random.default_rng(0)
    body = np.stack(np.meshgrid(*[np.linspace(-0.4, 0.4, 7)] * 3), axis=-1).reshape(-1, 3)
    tried = 0
    while tried < 25:
        angle, distance = rng.uniform(-np.pi, np.pi), rng.uniform(4.0, 35.0)
        center = np.array([distance * np.cos(angle), distance * np.sin(angle), 0.75])
        probability, context, seen = see(spec, rig, affines, center + body)
        if not seen.all():
            continue  # in a gap between cameras, or cut by an image border
        tried += 1
        bev = view(probability, context, *inputs)[0, 0].numpy()
        rows, columns = np.nonzero(bev)
        assert len(rows), f"nothing arrived for an object at {center}"
        peak = np.average(np.stack([columns, rows], axis=1) + 0.5, axis=0, weights=bev[rows, columns])
        error = np.abs(peak - spec.grid.to_cells(center[:2]))
        assert (error <= 1.0).all(), f"object at {center}: off by {error} cells"


@pytest.mark.parametrize("kind", ["pull", "splat"])
def test_training_form_equals_file_form(kind):
    """Two different rigs in one training batch give what the file gives for each alone, and so do the gradients."""
    spec = make_spec(kind)
    view = build_view(spec.grid, spec.view)
    affines = [fit_image((256, 704), spec.image_size)] * 6
    rigs = [ring_rig(6, 704, 256), tilted_rig(6, "plumb_bob")]
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 60, 16, 44, generator=generator, dtype=torch.float32).requires_grad_()
    context = torch.randn(12, 8, 16, 44, generator=generator).requires_grad_()
    probability = torch.softmax(logits, dim=1)
    separate = [
        view(
            probability[6 * i : 6 * i + 6],
            context[6 * i : 6 * i + 6],
            *(torch.from_numpy(build_tables(spec, rig, affines)[name]) for name in view.table_names),
        )
        for i, rig in enumerate(rigs)
    ]
    weight = torch.randn(2, 8, *spec.grid.shape, generator=generator)
    expected_gradients = torch.autograd.grad((torch.cat(separate) * weight).sum(), (logits, context))

    parts = [view_terms(spec, rig, affines) for rig in rigs]
    cells, pixels = 128 * 128, 6 * 16 * 44
    terms = {
        "cell": torch.from_numpy(np.concatenate([parts[0].cell, parts[1].cell + cells])),
        "pixel": torch.from_numpy(np.concatenate([parts[0].pixel, parts[1].pixel + pixels])),
        "depth": torch.from_numpy(np.concatenate([parts[0].depth, parts[1].depth + pixels * 60])),
        "weight": torch.from_numpy(np.concatenate([parts[0].weight, parts[1].weight])),
    }
    probability = torch.softmax(logits, dim=1)
    bev = sum_terms(probability.reshape(-1), context.permute(0, 2, 3, 1).reshape(-1, 8), terms, 2 * cells)
    bev = bev.reshape(2, 128, 128, 8).permute(0, 3, 1, 2)
    torch.testing.assert_close(bev, torch.cat(separate), atol=1e-4, rtol=1e-4)
    gradients = torch.autograd.grad((bev * weight).sum(), (logits, context))
    for got, expected in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("count", [0, 1, 500])
def test_sums_are_those_of_adding_term_by_term(count):
    """Values and gradients against the plain formula, with cells and pixels that have no term and others with many."""
    generator = torch.Generator().manual_seed(count)
    cell = torch.randint(0, 40, (count,), generator=generator).sort().values
    terms = {
        "cell": cell,
        "pixel": torch.randint(2, 30, (count,), generator=generator),
        "depth": torch.randint(5, 90, (count,), generator=generator),
        "weight": torch.rand(count, generator=generator),
    }
    probability = torch.rand(100, generator=generator, requires_grad=True)
    context = torch.randn(32, 16, generator=generator, requires_grad=True)
    factor = torch.randn(50, 16, generator=generator)

    term = (probability[terms["depth"]] * terms["weight"])[:, None] * context[terms["pixel"]]
    plain = torch.zeros(50, 16).index_add(0, cell, term)
    sums = sum_terms(probability, context, terms, 50)
    torch.testing.assert_close(sums, plain, rtol=1e-6, atol=1e-6)
    expected = torch.autograd.grad((plain * factor).sum(), (probability, context))
    gradients = torch.autograd.grad((sums * factor).sum(), (probability, context))
    torch.testing.assert_close(gradients, expected, rtol=1e-5, atol=1e-5)
