"""The robot's own body is proposed where structure stays while the world moves, and nowhere else."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from kd_perception.rig_check.ego_mask import propose_masks, unchanging, write_masks
from kd_perception.rig_check.moments import CameraView, Moment
from kd_perception.runtime.ignore_mask import load_ignore_masks

SIZE = (225, 400)
S = 1_000_000_000


def texture(rng: np.random.Generator, size: tuple[int, int], contrast: float = 60.0) -> np.ndarray:
    noise = cv2.GaussianBlur(rng.normal(size=size), (0, 0), 2.0)
    return 120.0 + contrast * noise / np.abs(noise).max()


def body(kind: str) -> np.ndarray:
    """Where it is: (height, width) bool."""
    mask = np.zeros(SIZE, np.uint8)
    if kind == "bonnet":
        cv2.ellipse(mask, (200, 230), (230, 70), 0, 0, 360, 1, -1)
    elif kind == "pillar":
        mask[:, :50] = 1
    return mask.astype(bool)


def drive(kind: str, plain: bool = False, count: int = 8, seed: int = 5) -> list[np.ndarray]:
    """Pictures of a robot that drives: a changing street, plain sky and asphalt, lane lines; the body stays."""
    rng = np.random.default_rng(seed)
    mask, paint = body(kind), texture(rng, SIZE)
    if plain:  # a plain body with an outline, as car paint has
        rim = mask & ~cv2.erode(mask.astype(np.uint8), np.ones((9, 9))).astype(bool)
        paint = np.where(rim, 30.0 + texture(rng, SIZE, 25.0) % 60.0, 70.0)
    pictures = []
    for _ in range(count):
        image = texture(rng, SIZE)
        image[:60] = 200.0 + rng.uniform(-3, 3)  # sky
        image[120:] = 95.0 + rng.uniform(-3, 3)  # asphalt
        for foot, top in ((60, 190), (340, 210)):  # lane lines, whose dashes move
            start = rng.uniform(120, 225)
            for row in range(120, 225):
                if int(row - start) // 12 % 2:
                    column = int(top + (foot - top) * (row - 120) / 105 + rng.uniform(-4, 4))
                    image[row, column - 3 : column + 3] = 230.0
        image = np.where(mask, paint + rng.uniform(-4, 4), image) + rng.normal(0.0, 2.0, SIZE)
        pictures.append(np.clip(image, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2))
    return pictures


@pytest.mark.parametrize("kind", ["bonnet", "pillar"])
@pytest.mark.parametrize("plain", [False, True])
def test_a_body_is_found_and_little_else(kind: str, plain: bool):
    found, truth = unchanging(drive(kind, plain)), body(kind)
    assert (found & truth).sum() > 0.9 * truth.sum()
    assert (found & ~truth).mean() < 0.07  # its rim, in pictures half as wide as others


@pytest.mark.parametrize("seed", range(6))
def test_sky_asphalt_and_lane_lines_are_no_body(seed: int):
    assert not unchanging(drive("nothing", seed=seed)).any()


def recording(metres: float) -> SimpleNamespace:
    """A robot that drives `metres` from one moment to the next."""

    def ego_motion(base_frame: str, to_ns: int, from_ns: int) -> np.ndarray:
        motion = np.eye(4)
        motion[0, 3] = metres * (to_ns - from_ns) / S
        return motion

    cameras = (SimpleNamespace(name="front"), SimpleNamespace(name="side"))
    return SimpleNamespace(cameras=cameras, ego_motion=ego_motion)


def moments(front: list[np.ndarray], side: list[np.ndarray]) -> list[Moment]:
    return [
        Moment(index * S, np.zeros((0, 3)), np.eye(4), {
            "front": CameraView(index * S, (1600, 900), pictures[0]),
            "side": CameraView(index * S, (1600, 900), pictures[1]),
        })
        for index, pictures in enumerate(zip(front, side, strict=True))
    ]  # fmt: skip


def test_a_proposal_is_a_file_that_the_detector_takes(tmp_path):
    seen = moments(drive("bonnet"), drive("nothing"))
    sentences = write_masks(propose_masks(recording(3.0), seen, "base_link"), tmp_path)
    (sentence,) = sentences
    path = tmp_path / "ego_mask" / "front.png"
    assert "camera 'front': 2" in sentence and str(path) in sentence
    mask = load_ignore_masks([f"front={path}"], ("front", "side"))["front"]
    truth = cv2.resize(body("bonnet").astype(np.uint8), (1600, 900)).astype(bool)
    assert (mask & truth).sum() > 0.9 * truth.sum()


def test_a_robot_that_stands_and_a_frozen_camera_tell_nothing(tmp_path):
    still = write_masks(propose_masks(recording(0.1), moments(drive("bonnet"), drive("pillar")), "base_link"), tmp_path)
    why = "pictures of 1 of 6 places 2 m apart; record a drive, or raise --moments"
    assert still == [f"cannot tell where front, side sees the robot itself: {why}"]
    frozen = drive("nothing")
    sentences = write_masks(propose_masks(recording(3.0), moments([frozen[0]] * 8, frozen), "base_link"), tmp_path)
    assert len(sentences) == 1 and "100 % of its picture stay the same: is it frozen?" in sentences[0]
    assert not (tmp_path / "ego_mask").exists()
