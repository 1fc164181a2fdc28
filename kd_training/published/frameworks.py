"""How two frameworks name the tensors of a CenterPoint: mmdetection3d and OpenPCDet."""

from collections.abc import Callable
from dataclasses import dataclass

from kd_perception.errors import DataError
from kd_training.published.files import PublishedFile
from kd_training.published.head_table import BoxConvention, HeadNames


@dataclass(frozen=True)
class Framework:
    """Names of one framework. A pair of names is a convolution and the batch norm behind it.

    voxels: prefix of the sparse encoder; residual, down: parts of it by stage and block; pillars: prefix of the pillar
    encoder's layers; block: convolution of the 2D backbone by block and layer; neck: prefix of its branches.
    rows: points that pillars are filled up to. transposed: whether a neck's branch without a change of resolution is
    a transposed convolution. ignored: names that are no weights.
    """

    name: str
    head: HeadNames
    voxels: str
    residual: Callable[[int, int], str]
    down: Callable[[int, int], tuple[str, str]]
    pillars: str
    block: Callable[[int, int], tuple[str, str]]
    neck: str
    rows: int
    transposed: bool
    ignored: tuple[str, ...]
    boxes: BoxConvention | None  # None: they differ between versions


def _mmdet_block(block: int, layer: int) -> tuple[str, str]:
    return f"pts_backbone.blocks.{block}.{3 * layer}", f"pts_backbone.blocks.{block}.{3 * layer + 1}"


def _pcdet_block(block: int, layer: int) -> tuple[str, str]:
    first = f"backbone_2d.blocks.{block}."  # its first module pads
    return f"{first}{3 * layer + 1}", f"{first}{3 * layer + 2}"


def _mmdet_down(stage: int, blocks: int) -> tuple[str, str]:
    """Steps down end the stage before them."""
    prefix = f"pts_middle_encoder.encoder_layers.encoder_layer{stage}.{blocks}"
    return f"{prefix}.0", f"{prefix}.1"


def _pcdet_residual(stage: int, block: int) -> str:
    """Steps down begin their stage."""
    return f"backbone_3d.conv{stage + 1}.{block if stage == 0 else block + 1}"


MMDET3D = Framework(
    name="mmdetection3d",
    head=HeadNames(
        shared=("pts_bbox_head.shared_conv.conv", "pts_bbox_head.shared_conv.bn"),
        group="pts_bbox_head.task_heads.{}",
        branches=("reg", "height", "dim", "rot", "vel", "heatmap"),
        hidden=("0.conv", "0.bn"),
        last="1",
    ),
    voxels="pts_middle_encoder",
    residual=lambda stage, block: f"pts_middle_encoder.encoder_layers.encoder_layer{stage + 1}.{block}",
    down=_mmdet_down,
    pillars="pts_voxel_encoder.pfn_layers",
    block=_mmdet_block,
    neck="pts_neck.deblocks",
    rows=20,
    transposed=False,
    ignored=(),
    boxes=None,
)
OPENPCDET = Framework(
    name="OpenPCDet",
    head=HeadNames(
        shared=("dense_head.shared_conv.0", "dense_head.shared_conv.1"),
        group="dense_head.heads_list.{}",
        branches=("center", "center_z", "dim", "rot", "vel", "hm"),
        hidden=("0.0", "0.1"),
        last="1",
    ),
    voxels="backbone_3d",
    residual=_pcdet_residual,
    down=lambda stage, blocks: (f"backbone_3d.conv{stage + 1}.0.0", f"backbone_3d.conv{stage + 1}.0.1"),
    pillars="vfe.pfn_layers",
    block=_pcdet_block,
    neck="backbone_2d.deblocks",
    rows=0,
    transposed=True,
    ignored=("global_step",),
    boxes=BoxConvention.openpcdet,
)


def framework_of(file: PublishedFile) -> Framework:
    """Whose names a checkpoint has; raises DataError if nobody's that we know."""
    for framework in (MMDET3D, OPENPCDET):
        if f"{framework.head.shared[0]}.weight" in file.state:
            return framework
    names = ", ".join(list(file.state)[:3])
    raise DataError(
        f"{file.path} is no CenterPoint of a known layout: its tensors are called {names} ...; known are "
        f"mmdetection3d's ({MMDET3D.head.shared[0]}) and OpenPCDet's ({OPENPCDET.head.shared[0]})"
    )
