"""A camera teacher that does not fit its student is refused with a sentence that says what to change."""

from dataclasses import replace

import pytest
from support.distillation import STUDENT_CHANNELS, side

from kd_perception.errors import ConfigError
from kd_perception.geometry.classes import ClassList
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.box_codes import Heading
from kd_perception.student.spec import DepthBins, MemorySpec, StudentSpec, ViewSpec
from kd_training.config.cross_scale import CrossScaleConfig
from kd_training.config.distill import LayerPair, PearsonConfig, ResponseConfig
from kd_training.distill.scale.cross_scale import CrossScale
from kd_training.distill.scale.fit import CameraSide, matches_of
from kd_training.models.necks import TopDown

OFF = {"pearson": PearsonConfig(), "response": ResponseConfig()}


def camera(name: str, size: tuple[int, int], focal: float = 0.0, stride: int = 8, **spec) -> CameraSide:
    view = ViewSpec("pull", stride, DepthBins(1.0, 1.0, 16, focal), (0.5,), (-2.0, 4.0))
    bev = side(name, STUDENT_CHANNELS)
    given = StudentSpec(name, bev.grid, size, view, 6, (0.0,) * 3, (1.0,) * 3)
    return CameraSide(bev, replace(given, **spec), TopDown((4, 6, 8), 5, stride), has_depth=True)


STUDENT, TEACHER = camera("low", (128, 352), 278.0), camera("high", (256, 704), 556.0)


def refusal(config=CrossScaleConfig(), student=STUDENT, teacher=TEACHER) -> str:  # noqa: B008
    with pytest.raises(ConfigError) as caught:
        CrossScale(config, student, teacher)
    return str(caught.value)


def test_what_fits_is_accepted_with_terms_of_all_kinds():
    names = CrossScale(CrossScaleConfig(), STUDENT, TEACHER).term_names
    assert names == (
        "camera/pyramid/8", "camera/pyramid/16", "camera/depth", "camera/pearson/half", "camera/pearson/quarter",
        "camera/pearson/pre_head", "camera/response/heatmap",
    )  # fmt: skip
    images = CrossScale(CrossScaleConfig(**OFF), STUDENT, camera("again", (128, 352), 278.0))
    assert images.term_names == ("camera/pyramid/8", "camera/pyramid/16", "camera/pyramid/32", "camera/depth")
    coarse = [camera("coarse", size, stride=16) for size in ((256, 704), (512, 1408))]
    assert [match[:2] for match in matches_of(*coarse)] == [(8, 16), (16, 32)]  # 8: in training only


def test_resolutions():
    wide = camera("wide", (256, 768), 556.0)
    assert "low (128x352 pixels) and its camera teacher wide (256x768 pixels) crop pictures" in refusal(teacher=wide)
    assert refusal(teacher=wide).endswith("model.image_width=384")
    assert "sees fewer pixels than its student" in refusal(student=TEACHER, teacher=STUDENT)
    huge = camera("huge", (1024, 2816), 2224.0)
    assert "no level of low (128x352 pixels) is near one of huge (1024x2816 pixels) at ratio 8" in refusal(teacher=huge)
    assert CrossScale(CrossScaleConfig(pyramid=0.0), STUDENT, huge).term_names[0] == "camera/depth"


def test_rig_view_memory_and_grid():
    assert "was trained with 4 cameras, low is for 6" in refusal(teacher=camera("high", (256, 704), trained_cameras=4))
    view = replace(TEACHER.spec.view, kind="splat")
    assert "has the view transform splat" in refusal(teacher=camera("high", (256, 704), view=view))
    view = replace(TEACHER.spec.view, heights=(0.5, 2.0))
    assert "pull at heights 0.5, 2 m, low pull at heights 0.5 m" in refusal(
        teacher=camera("high", (256, 704), view=view)
    )
    memory = {"memory": MemorySpec(6, 0.5, 0.1, 1.0), "temporal_frames": 2}
    assert "remembers earlier frames" in refusal(teacher=camera("high", (256, 704), **memory))
    bev = TEACHER.bev._replace(grid=BevGrid(-12.8, 12.8, -9.6, 9.6, 0.4))
    assert "low has cells of 0.8 m, but high of 0.4 m" in refusal(teacher=TEACHER._replace(bev=bev))
    swapped = ClassList(TEACHER.bev.classes.groups[::-1])
    assert "train a teacher on the student's classes" in refusal(
        teacher=TEACHER._replace(bev=TEACHER.bev._replace(classes=swapped))
    )


def test_depth_bins_mean_the_same_ranges():
    same_focal = camera("high", (256, 704), 278.0)
    wanted = "278 and 278 pixels, at images 2 times as large; set the student's to 139"
    assert refusal(teacher=same_focal).endswith(wanted)
    bins = replace(TEACHER.spec.view, depth=DepthBins(1.0, 0.5, 32, 556.0))
    assert "16 depth bins of 1 m from 1 m, but the camera teacher high 32 of 0.5 m" in refusal(
        teacher=camera("high", (256, 704), view=bins)
    )
    blind = TEACHER._replace(has_depth=False)
    assert refusal(teacher=blind) == "high predicts no depth bins; set cross_scale.depth=0"
    assert CrossScale(CrossScaleConfig(depth=0.0), STUDENT, blind)


def test_weights_layers_and_codings():
    assert refusal(CrossScaleConfig(depth=-1.0)).startswith("cross_scale.depth is -1; set it to 0")
    assert "the section cross_scale switches every term off" in refusal(CrossScaleConfig(pyramid=0.0, depth=0.0, **OFF))
    assert "names no pair" in refusal(CrossScaleConfig(layers=[]))
    assert refusal(CrossScaleConfig(layers=[LayerPair("hlaf", "half")])).startswith(
        "cross_scale.layers.0.student: low has no layer 'hlaf'"
    )
    boxes = CrossScaleConfig(response=ResponseConfig(boxes=1.0))
    vector = camera("high", (256, 704), 556.0, heading=Heading.vector)
    assert "low codes headings as 'axis' and high as 'vector'" in refusal(boxes, teacher=vector)
