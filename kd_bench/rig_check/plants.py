"""Mistakes to plant in a healthy recording, and what a check may then say."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from kd_bench.rig_check.recordings import Healthy
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import apply, invert, make_transform, quaternion_from_yaw
from kd_perception.rig_check.mistake import Mistake
from kd_perception.rig_check.moments import CameraView, Moment
from kd_perception.rig_check.recording import Recording

BODY_FROM_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
MIRROR = np.diag([1.0, -1.0, 1.0, 1.0])
CLOCK_S = 1.0  # at least: by which clouds are stamped wrongly
TURN_DEGREES, FOCAL_FACTOR, THINNED = 3.0, 0.9, 6
Rng = np.random.Generator


@dataclass
class PlantedRecording(Recording):
    """A recording whose cameras are other than it says."""

    change: Callable[[Camera], Camera] = field(default=lambda camera: camera)

    def camera(self, record: object, base_frame: str, stamp_ns: int) -> Camera:
        """The camera as it was changed; raises CalibrationError as before."""
        return self.change(super().camera(record, base_frame, stamp_ns))


@dataclass(frozen=True)
class Planted:
    """A recording with a mistake. cameras: those it is about (none: all); allowed: what may be said of it."""

    name: str
    recording: Recording
    moments: tuple[Moment, ...]
    cameras: tuple[str, ...] = ()
    allowed: frozenset[Mistake] = frozenset()


def plants(healthy: Healthy, rng: Rng) -> Iterator[Planted]:
    """The recording as it is, then with one mistake after another; cameras and angles are drawn."""
    yield Planted("none", healthy.recording, healthy.moments)
    yield from _of_pictures(healthy, rng)
    yield from _of_cameras(healthy, rng)
    yield from _of_clouds(healthy, rng)


def _of_pictures(healthy: Healthy, rng: Rng) -> Iterator[Planted]:
    names = [record.name for record in healthy.recording.cameras]
    one = str(rng.choice(names))
    turned = (
        ("picture upside down", Mistake.upside_down, lambda image: image[::-1, ::-1]),
        ("picture mirrored", Mistake.mirrored, lambda image: image[:, ::-1]),
    )
    for name, mistake, turn in turned:
        yield _pictures(healthy, name, one, turn, frozenset({mistake}))
    yield _pictures(healthy, "lens covered: black", one, np.zeros_like)
    grain = rng.normal(12.0, 3.0, (2000, 4000, 1))
    yield _pictures(
        healthy,
        "lens covered: dark and noisy",
        one,
        lambda image: (0 * image + np.clip(grain[: image.shape[0], : image.shape[1]], 0, 255)).astype(np.uint8),
    )
    if len(names) > 1:
        first, second = map(str, rng.choice(names, 2, replace=False))
        exchanged = {first: second, second: first}
        moments = tuple(
            replace(m, views={exchanged.get(name, name): view for name, view in m.views.items()})
            for m in healthy.moments
        )
        allowed = frozenset({Mistake.swapped, Mistake.exchanged_sides} if len(names) <= 3 else {Mistake.swapped})
        yield Planted("two cameras swapped", healthy.recording, moments, (first, second), allowed)


def _pictures(
    healthy: Healthy,
    name: str,
    camera: str,
    turn: Callable[[np.ndarray], np.ndarray],
    allowed: frozenset[Mistake] = frozenset(),
) -> Planted:
    def changed(view: CameraView) -> CameraView:
        return replace(view, image=np.ascontiguousarray(turn(view.image)))

    moments = tuple(
        replace(m, views={n: changed(view) if n == camera else view for n, view in m.views.items()})
        for m in healthy.moments
    )
    return Planted(name, healthy.recording, moments, (camera,), allowed)


def _of_cameras(healthy: Healthy, rng: Rng) -> Iterator[Planted]:
    names = tuple(record.name for record in healthy.recording.cameras)
    one = (str(rng.choice(names)),)
    side = float(rng.choice([-1.0, 1.0]))
    turn = make_transform(quaternion_from_yaw(np.radians(side * TURN_DEGREES)), np.zeros(3))
    factor = FOCAL_FACTOR ** float(rng.choice([-1.0, 1.0]))
    body = frozenset({Mistake.body_frame})
    made: list[tuple[str, tuple[str, ...], Callable[[Camera], Camera], frozenset[Mistake]]] = [
        ("body frame", one, _mounted(lambda m: m @ invert(BODY_FROM_OPTICAL)), body),
        ("focal length x 0.9 or / 0.9", one, _zoomed(factor), frozenset({Mistake.focal_length})),
        (f"mounting turned by {TURN_DEGREES:g} degrees", one, _turned(turn), frozenset({Mistake.mounting_turned})),
    ]
    if len(names) > 1:
        made += [
            ("body frame, all cameras", names, _mounted(lambda m: m @ invert(BODY_FROM_OPTICAL)), body),
            ("transform inverted, all cameras", names, _mounted(invert), frozenset({Mistake.inverted})),
            ("focal length, all cameras", names, _zoomed(factor), frozenset({Mistake.focal_length})),
            (
                "left and right exchanged",
                names,
                _mounted(lambda m: MIRROR @ m @ np.diag([-1.0, 1.0, 1.0, 1.0])),
                frozenset({Mistake.exchanged_sides, Mistake.swapped, Mistake.elsewhere}),
            ),
        ]
    for name, about, change, allowed in made:
        yield Planted(name, _with_cameras(healthy.recording, about, change), healthy.moments, about, allowed)


def _of_clouds(healthy: Healthy, rng: Rng) -> Iterator[Planted]:
    quarter = make_transform(quaternion_from_yaw(np.pi / 2.0 * int(rng.integers(1, 4))), np.zeros(3))
    few = make_transform(quaternion_from_yaw(np.radians(TURN_DEGREES)), np.zeros(3))
    moves = (
        ("cloud turned by a quarter, or two or three", quarter, Mistake.cloud_turned),
        ("cloud mirrored", MIRROR, Mistake.cloud_mirrored),
        ("cloud upside down", np.diag([1.0, -1.0, -1.0, 1.0]), Mistake.cloud_upside_down),
        (f"cloud turned by {TURN_DEGREES:g} degrees", few, Mistake.cloud_yaw),
    )
    # Of a single camera nobody can say whether it or the LiDAR is turned.
    alone = frozenset({Mistake.mounting_turned}) if len(healthy.recording.cameras) == 1 else frozenset()
    for name, move, mistake in moves:
        moments = tuple(_with_cloud(moment, move) for moment in healthy.moments)
        yield Planted(name, healthy.recording, moments, (), frozenset({mistake}) | alone)
    thin = tuple(
        replace(moment, points=moment.points[rng.random(len(moment.points)) < 1.0 / THINNED])
        for moment in healthy.moments
    )
    yield Planted(f"cloud thinned {THINNED} times", healthy.recording, thin)
    if late := _late(healthy.moments):
        yield Planted("cloud's clock 1 s off", healthy.recording, late, (), frozenset({Mistake.cloud_clock}))


def _late(moments: Sequence[Moment]) -> tuple[Moment, ...]:
    """Each moment's cloud with the pictures of CLOCK_S later; none where the recording is too short."""
    return tuple(
        replace(moment, stamp_ns=later.stamp_ns, views=later.views)
        for moment in moments
        for later in moments
        if CLOCK_S <= (later.stamp_ns - moment.stamp_ns) / 1e9 < CLOCK_S + 0.1
    )


def _with_cloud(moment: Moment, move: np.ndarray) -> Moment:
    placed = moment.base_from_cloud
    return replace(moment, points=apply(placed @ move @ invert(placed), moment.points))


def _with_cameras(recording: Recording, names: Sequence[str], change: Callable[[Camera], Camera]) -> Recording:
    content = {each.name: getattr(recording, each.name) for each in fields(Recording)}
    return PlantedRecording(**content, change=lambda camera: change(camera) if camera.name in names else camera)


def _mounted(move: Callable[[np.ndarray], np.ndarray]) -> Callable[[Camera], Camera]:
    return lambda camera: replace(camera, ego_from_camera=move(camera.ego_from_camera))


def _turned(turn: np.ndarray) -> Callable[[Camera], Camera]:
    return _mounted(lambda mounting: make_transform((turn @ mounting)[:3, :3], mounting[:3, 3]))


def _zoomed(factor: float) -> Callable[[Camera], Camera]:
    scale = np.array([[factor, 1.0, 1.0], [1.0, factor, 1.0], [1.0, 1.0, 1.0]])
    return lambda camera: replace(camera, intrinsics=camera.intrinsics * scale)
