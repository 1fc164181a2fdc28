"""`kd parity`: the running graph and the offline pipeline agree on every encoding and lens, and a fault is named.

One start of the graph for each transport; faults are planted in the offline side, against the same live frames.
"""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import typer
from rich.console import Console
from support.domains import free_domain
from support.fake_student import TEMPORAL_SPEC, write_fake_student
from support.mixed_rig import HEIGHT, T0, WIDTH, MixedBag, S, write_mixed_bag

from kd_perception.engines.onnxruntime import OnnxRuntimeEngine
from kd_perception.errors import DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.nodes.common.odometry import PoseSource
from kd_perception.options.detector import DetectorOptions
from kd_perception.parity import command
from kd_perception.parity.bag_frames import BagWalk
from kd_perception.parity.command import print_parity, run_offline
from kd_perception.parity.comparison import compare
from kd_perception.parity.inputs import BagInputs, detector_of, find_inputs
from kd_perception.parity.live import LiveRun, run_live, write_cut
from kd_perception.ros import rig_source
from kd_perception.ros.received import ReceivedImage
from kd_perception.runtime import pipeline as pipeline_module
from kd_perception.runtime.snapshot import FrameSnapshot

pytestmark = pytest.mark.ros
MASKED = 216  # rows from here on are ignored in the masked camera


class Played:
    """A bag that the graph has processed."""

    def __init__(self, folder, transport: str) -> None:  # noqa: ANN001
        self.bag: MixedBag = write_mixed_bag(folder / "bag", transport)
        student = write_fake_student(folder / "student.onnx", TEMPORAL_SPEC)
        mask = folder / "body.yaml"
        mask.write_text(
            f"size: [{WIDTH}, {HEIGHT}]\n"
            f"polygons: [[[0, {MASKED}], [{WIDTH}, {MASKED}], [{WIDTH}, {HEIGHT}], [0, {HEIGHT}]]]"
        )
        options = DetectorOptions(model=student, engine="onnxruntime", threads=1, ignore_mask=(f"cam1={mask}",))
        self.inputs: BagInputs = find_inputs(self.bag.path, (), ())
        self.detector = detector_of(self.inputs, options)
        frames = BagWalk(self.inputs, self.detector, needs_pose=True)
        self.offered = write_cut(self.inputs, frames, 100, folder / "cut")
        run = LiveRun(folder, domain_id=free_domain(), timeout_s=120.0)
        self.live = run_live(self.inputs, folder / "cut", self.detector, run)

    def offline(self) -> dict[int, FrameSnapshot]:
        """The other side, with whatever is planted now."""
        return run_offline(self.inputs, self.detector, 100)[0]


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Played:  # noqa: ANN001
    return Played(tmp_path_factory.mktemp("raw"), "raw")


@pytest.fixture(scope="module")
def compressed(tmp_path_factory) -> Played:  # noqa: ANN001
    return Played(tmp_path_factory.mktemp("compressed"), "compressed")


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_all_encodings_and_lenses_agree_and_are_right(request, capsys, transport: str):
    played: Played = request.getfixturevalue(transport)
    offline = played.offline()
    assert list(offline) == list(played.live) == list(played.bag.stamps_ns)
    report = compare(played.live, offline)
    print_parity(report, Console(width=80))
    shown = capsys.readouterr().out
    assert report.agrees, shown
    assert report.sentence() in shown and max(map(len, shown.splitlines())) <= 80 and "…" not in shown
    assert [result.stage.name for result in report.stages if not result.compared] == []
    boxes = report.stages[-1]
    assert (boxes.stage.name, boxes.greatest) == ("boxes", 0.0) and report.boxes > 50  # 100 % matched within 1 cm
    for stamp, cars in zip(played.bag.stamps_ns, played.bag.cars, strict=True):  # both could be wrong alike
        centers = played.live[stamp].boxes.center[:, None, :2]
        assert (np.linalg.norm(centers - np.array(cars)[None], axis=-1).min(axis=0) < 1.5).all()
    masked = next(iter(played.live.values()))
    black = (masked.images == 0).all(axis=-1).mean(axis=(1, 2))
    assert black[1] == pytest.approx(1.0 - MASKED / HEIGHT, abs=0.05) and black[[0, 2, 3, 4]].max() < 0.01


def other_focal(camera: Camera) -> Camera:
    return replace(camera, intrinsics=camera.intrinsics * np.array([[1.1, 1, 1], [1, 1, 1], [1, 1, 1]]))


def swap_channels(patch: pytest.MonkeyPatch) -> None:
    """A decoder that takes bgr8 for rgb8."""
    content = ReceivedImage.content
    patch.setattr(
        ReceivedImage, "content", lambda image: content(replace(image, encoding=image.encoding.replace("bgr8", "rgb8")))
    )


def calibrate_otherwise(patch: pytest.MonkeyPatch) -> None:
    """CameraInfo of one camera is read with another focal length."""
    read = rig_source.from_camera_info

    def misread(info, name, mounting, **options) -> Camera:  # noqa: ANN001
        camera = read(info, name, mounting, **options)
        return other_focal(camera) if name == "cam2" else camera

    patch.setattr(rig_source, "from_camera_info", misread)


def build_other_tables(patch: pytest.MonkeyPatch) -> None:
    """The pixels are right, the tables are those of other intrinsics."""
    build = pipeline_module.geometry_inputs

    def wrong(spec, cameras, affines) -> dict:  # noqa: ANN001
        return build(spec, [other_focal(c) if c.name == "cam3" else c for c in cameras], affines)

    patch.setattr(pipeline_module, "geometry_inputs", wrong)


def drift(patch: pytest.MonkeyPatch) -> None:
    """Poses of a robot that drives otherwise."""
    look_up = PoseSource.lookup

    def wrong(source, stamp_ns) -> np.ndarray:  # noqa: ANN001
        pose = look_up(source, stamp_ns).copy()
        pose[1, 3] += (stamp_ns - T0) / S
        return pose

    patch.setattr(PoseSource, "lookup", wrong)


def compute_otherwise(patch: pytest.MonkeyPatch) -> None:
    """An engine that is off by one percent."""
    run = OnnxRuntimeEngine.run

    def wrong(engine, inputs) -> dict:  # noqa: ANN001
        outputs = run(engine, inputs)
        return {**outputs, "regression": outputs["regression"] + 0.01}

    patch.setattr(OnnxRuntimeEngine, "run", wrong)


def decode_otherwise(patch: pytest.MonkeyPatch, shift: float = 0.02) -> None:
    """Boxes that stand `shift` metres elsewhere."""
    decode = pipeline_module.decode

    def wrong(*maps, **options) -> Boxes:  # noqa: ANN002
        boxes = decode(*maps, **options)
        return replace(boxes, center=boxes.center + [shift, 0.0, 0.0])

    patch.setattr(pipeline_module, "decode", wrong)


@pytest.mark.parametrize(
    ("plant", "text"),
    [
        (calibrate_otherwise, "stage calibration, frame 1 of 5 (1700000000.000 s), camera 'cam2': its intrinsics is ["),
        (swap_channels, "stage pixels, frame 1 of 5 (1700000000.000 s), camera 'cam1': "),
        (build_other_tables, "stage tables, frame 1 of 5 (1700000000.000 s), table pixel_index, camera 'cam3': "),
        (drift, "stage memory, frame 2 of 5 (1700000000.200 s), input bev_warp: it differs by "),
        (
            compute_otherwise,
            "stage outputs, frame 1 of 5 (1700000000.000 s), output regression: it differs by ",
        ),
        (decode_otherwise, "stage boxes, frame 1 of 5 (1700000000.000 s), the live boxes: "),
    ],
)
def test_the_first_stage_with_a_fault_is_named(raw: Played, monkeypatch, plant, text: str):
    plant(monkeypatch)
    report = compare(raw.live, raw.offline())
    assert not report.agrees and text in report.sentence(), report.sentence()
    stages = [result.stage.name for result in report.stages]
    before = stages.index(report.first.stage.name)
    assert all(result.first is None for result in report.stages[:before])


def test_half_a_centimetre_is_no_difference(raw: Played, monkeypatch):
    decode_otherwise(monkeypatch, shift=0.005)
    assert compare(raw.live, raw.offline()).agrees


def test_other_images_and_masks_are_named(raw: Played):
    offline, _ = run_offline(raw.inputs, replace(raw.detector, sync_tolerance_ms=2.5), 100)
    sentence = compare(raw.live, offline).sentence()
    assert "stage images, frame 1 of 5" in sentence
    assert "camera 'cam3': it is masked offline only: no image came in time" in sentence
    stamp, snapshot = next(iter(raw.live.items()))
    other = replace(snapshot, ages_ns=(0, -2_000_000, *snapshot.ages_ns[2:]))
    sentence = compare({stamp: other}, {stamp: snapshot}).sentence()
    assert "camera 'cam1': its image is +2.0 ms from the anchor's live, but +1.0 ms offline" in sentence


def test_frames_without_an_answer_are_named(raw: Played):
    live, offline = dict(raw.live), raw.offline()
    gone = list(live)[3]
    del live[gone]
    report = compare(live, offline)
    assert not report.agrees
    assert f"no answer to 1 of 5 frames, the first at {gone / 1e9:.3f} s" in report.sentence()
    with pytest.raises(DataError, match="no frame could be compared: 5 frames are refused"):
        compare(live, {}, rejected=5)


def test_the_command_ends_with_1_where_a_stage_differs(raw: Played, monkeypatch, capsys):
    monkeypatch.setattr(command, "run_live", lambda *given: raw.live)
    given = {name: parameter.default for name, parameter in inspect.signature(command.parity).parameters.items()}
    given |= {"bag": raw.bag.path, "model": raw.detector.model, "engine": "onnxruntime", "threads": 1}
    given |= {"ignore_mask": list(raw.detector.ignore_mask)}
    command.parity(**given)
    assert "graph and offline pipeline agree in all stages of 5 frames" in capsys.readouterr().out
    decode_otherwise(monkeypatch)
    with pytest.raises(typer.Exit) as end:
        command.parity(**given)
    assert end.value.exit_code == 1 and "first in stage boxes" in capsys.readouterr().out
