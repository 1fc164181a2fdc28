"""State dicts with the names and shapes of published CenterPoints, small and random, and what those networks compute:
a plain reference in dense tensors, in the axes and conventions of their frameworks."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

GROUPS = (1, 2, 2, 1, 2, 2)
BRANCHES = {"mmdet3d": ("reg", "height", "dim", "rot", "vel", "heatmap"),
            "openpcdet": ("center", "center_z", "dim", "rot", "vel", "hm")}  # fmt: skip
ROWS = (2, 1, 3, 2, 2)
SHARED, HIDDEN, NECK = 6, 5, 7
OUTGOING = 5
LAYOUTS = {"spconv1": (1, 2, 3, 4, 0), "native": (1, 2, 3, 0, 4), "spconv2": (0, 1, 2, 3, 4)}  # of (O, z, y, x, I)


@dataclass
class Published:
    """A state dict in the making, and its layers by role for the reference."""

    framework: str
    layout: str = "spconv2"
    blocks: int = 1  # residual blocks of a stage
    state: dict[str, Tensor] = field(default_factory=dict)
    plain: dict[str, Tensor] = field(default_factory=dict)  # sparse weights as (O, I, z, y, x)
    generator: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))

    def random(self, *shape: int) -> Tensor:
        """Such that maps neither die nor explode."""
        fan = math.prod(shape) / max(shape[0], 1) if len(shape) > 1 else 25.0
        return torch.randn(shape, generator=self.generator) / math.sqrt(fan)

    def norm(self, name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean"):
            self.state[f"{name}.{part}"] = self.random(channels) + (part == "weight")
        self.state[f"{name}.running_var"] = self.random(channels).abs() + 0.1
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def conv(self, names: tuple[str, str], shape: tuple[int, ...], out_axis: int = 0, bias: bool = False) -> None:
        self.state[f"{names[0]}.weight"] = self.random(*shape)
        if bias:
            self.state[f"{names[0]}.bias"] = self.random(shape[out_axis])
        self.norm(names[1], shape[out_axis])

    def sparse(
        self, names: tuple[str, str], outgoing: int, incoming: int, kernel=(3, 3, 3), bias: bool = False
    ) -> None:
        weight = self.random(outgoing, *kernel, incoming)
        self.plain[names[0]] = weight.permute(0, 4, 1, 2, 3)
        self.state[f"{names[0]}.weight"] = weight.permute(LAYOUTS[self.layout]).contiguous()
        if bias:
            self.state[f"{names[0]}.bias"] = self.random(outgoing)
        self.norm(names[1], outgoing)


def head_names(framework: str, group: int, branch: str) -> tuple[str, str, str]:
    """Hidden convolution, its norm, and the last convolution."""
    if framework == "mmdet3d":
        prefix = f"pts_bbox_head.task_heads.{group}.{branch}"
        return f"{prefix}.0.conv", f"{prefix}.0.bn", f"{prefix}.1"
    prefix = f"dense_head.heads_list.{group}.{branch}"
    return f"{prefix}.0.0", f"{prefix}.0.1", f"{prefix}.1"


def shared_names(framework: str) -> tuple[str, str]:
    first = "pts_bbox_head.shared_conv" if framework == "mmdet3d" else "dense_head.shared_conv"
    return (f"{first}.conv", f"{first}.bn") if framework == "mmdet3d" else (f"{first}.0", f"{first}.1")


def block_names(framework: str, block: int, layer: int) -> tuple[str, str]:
    if framework == "mmdet3d":
        return f"pts_backbone.blocks.{block}.{3 * layer}", f"pts_backbone.blocks.{block}.{3 * layer + 1}"
    return f"backbone_2d.blocks.{block}.{3 * layer + 1}", f"backbone_2d.blocks.{block}.{3 * layer + 2}"


def neck_names(framework: str, branch: int) -> tuple[str, str]:
    first = "pts_neck" if framework == "mmdet3d" else "backbone_2d"
    return f"{first}.deblocks.{branch}.0", f"{first}.deblocks.{branch}.1"


def add_bev(made: Published, incoming: int, blocks: tuple[int, ...], layers: int = 2) -> None:
    """Backbone, neck and head."""
    framework, pcdet = made.framework, made.framework == "openpcdet"
    for block, channels in enumerate(blocks):
        for layer in range(layers):
            made.conv(block_names(framework, block, layer), (channels, incoming, 3, 3))
            incoming = channels
        step = block - len(blocks) + 2  # 0 at the grid's resolution
        size = 2 ** abs(step)
        transposed = step > 0 or (step == 0 and pcdet)
        shape = (channels, NECK, size, size) if transposed else (NECK, channels, size, size)
        made.conv(neck_names(framework, block), shape, out_axis=1 if transposed else 0)
    made.conv(shared_names(framework), (SHARED, NECK * len(blocks), 3, 3), bias=pcdet)
    for group, classes in enumerate(GROUPS):
        for branch, rows in zip(BRANCHES[framework], (*ROWS, classes), strict=True):
            convolution, norm, last = head_names(framework, group, branch)
            made.conv((convolution, norm), (HIDDEN, SHARED, 3, 3), bias=pcdet)
            made.state[f"{last}.weight"], made.state[f"{last}.bias"] = (
                made.random(rows, HIDDEN, 3, 3),
                made.random(rows),
            )


def residual_name(framework: str, stage: int, block: int) -> str:
    if framework == "mmdet3d":
        return f"pts_middle_encoder.encoder_layers.encoder_layer{stage + 1}.{block}"
    return f"backbone_3d.conv{stage + 1}.{block + (stage > 0)}"


def down_names(framework: str, stage: int, blocks: int) -> tuple[str, str]:
    """The step down before that stage."""
    if framework == "mmdet3d":
        prefix = f"pts_middle_encoder.encoder_layers.encoder_layer{stage}.{blocks}"
    else:
        prefix = f"backbone_3d.conv{stage + 1}.0"
    return f"{prefix}.0", f"{prefix}.1"


def edge_names(framework: str, name: str) -> tuple[str, str]:
    prefix = "pts_middle_encoder" if framework == "mmdet3d" else "backbone_3d"
    return f"{prefix}.{name}.0", f"{prefix}.{name}.1"


def voxel_checkpoint(
    framework: str, layout: str = "spconv2", blocks: int = 1, stages: tuple[int, ...] = (4, 5, 6, 7)
) -> Published:
    made, pcdet = Published(framework, layout, blocks), framework == "openpcdet"
    made.sparse(edge_names(framework, "conv_input"), stages[0], 5)
    for stage, channels in enumerate(stages):
        if stage:
            made.sparse(down_names(framework, stage, blocks), channels, stages[stage - 1])
        for name in (residual_name(framework, stage, block) for block in range(blocks)):
            for part in ("1", "2"):
                made.sparse((f"{name}.conv{part}", f"{name}.bn{part}"), channels, channels, bias=pcdet)
    made.sparse(edge_names(framework, "conv_out"), OUTGOING, stages[-1], (3, 1, 1))
    add_bev(made, 2 * OUTGOING, (6, 8))
    return made


def pillar_checkpoint(framework: str, inputs: int = 11, blocks: tuple[int, ...] = (4, 6, 8)) -> Published:
    made, channels = Published(framework), 8
    prefix = "pts_voxel_encoder" if framework == "mmdet3d" else "vfe"
    for layer in range(1 if framework == "mmdet3d" else 2):
        outgoing = channels // 2 if framework == "openpcdet" and layer == 0 else channels
        made.state[f"{prefix}.pfn_layers.{layer}.linear.weight"] = made.random(outgoing, inputs)
        made.norm(f"{prefix}.pfn_layers.{layer}.norm", outgoing)
        inputs = 2 * outgoing
    add_bev(made, channels, blocks)
    return made


# The reference: what a published network computes, in its own axes.


def normed(made: Published, values: Tensor, name: str, eps: float) -> Tensor:
    state = made.state
    parts = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return functional.batch_norm(values, *parts, eps=eps)


def bev_reference(made: Published, raster: Tensor, blocks: int, first_stride: int) -> list[dict[str, Tensor]]:
    """The map (1, C, rows, columns) behind the encoder -> the head's maps by branch, group by group."""
    state, framework, branches, stride = made.state, made.framework, [], first_stride
    for block in range(blocks):
        for layer in range(2):
            convolution, norm = block_names(framework, block, layer)
            raster = functional.conv2d(raster, state[f"{convolution}.weight"], None, stride if layer == 0 else 1, 1)
            raster = torch.relu(normed(made, raster, norm, 1e-3))
        convolution, norm = neck_names(framework, block)
        step, weight = block - blocks + 2, state[f"{convolution}.weight"]
        size = 2 ** abs(step)
        if step > 0 or (step == 0 and framework == "openpcdet"):
            level = functional.conv_transpose2d(raster, weight, None, size)
        else:
            level = functional.conv2d(raster, weight, None, size)
        branches.append(torch.relu(normed(made, level, norm, 1e-3)))
        stride = 2
    convolution, norm = shared_names(framework)
    shared = torch.cat(branches, dim=1)
    shared = functional.conv2d(shared, state[f"{convolution}.weight"], state.get(f"{convolution}.bias"), padding=1)
    shared = torch.relu(normed(made, shared, norm, 1e-5))
    answers = []
    for group in range(len(GROUPS)):
        answers.append({})
        for role, branch in zip(BRANCHES["mmdet3d"], BRANCHES[framework], strict=True):
            convolution, norm, last = head_names(framework, group, branch)
            hidden = functional.conv2d(
                shared, state[f"{convolution}.weight"], state.get(f"{convolution}.bias"), padding=1
            )
            hidden = torch.relu(normed(made, hidden, norm, 1e-5))
            answers[-1][role] = functional.conv2d(hidden, state[f"{last}.weight"], state[f"{last}.bias"], padding=1)[0]
    return answers


def voxel_reference(made: Published, raster: Tensor, occupied: Tensor) -> Tensor:
    """Means (1, 5, z, y, x) and where they are (1, 1, z, y, x) -> the map (1, C, rows, columns) of the encoder."""
    framework = made.framework
    stages = sum(name.endswith("conv1") for name in made.plain) // made.blocks

    def block(names, values, held, stride=(1, 1, 1), padding=(1, 1, 1)):
        weight = made.plain[names[0]]
        if max(stride) > 1:
            held = (functional.conv3d(held, torch.ones(1, 1, *weight.shape[2:]), None, stride, padding) > 0).float()
        values = functional.conv3d(values, weight, made.state.get(f"{names[0]}.bias"), stride, padding)
        return normed(made, values, names[1], 1e-3) * held, held

    values, held = block(edge_names(framework, "conv_input"), raster, occupied)
    values = torch.relu(values)
    for stage in range(stages):
        if stage:
            padding = (0 if stage == stages - 1 else 1, 1, 1)
            values, held = block(down_names(framework, stage, made.blocks), values, held, (2, 2, 2), padding)
            values = torch.relu(values)
        for name in (residual_name(framework, stage, place) for place in range(made.blocks)):
            inner, _ = block((f"{name}.conv1", f"{name}.bn1"), values, held)
            inner, _ = block((f"{name}.conv2", f"{name}.bn2"), torch.relu(inner), held)
            values = torch.relu(inner + values)
    values, _ = block(edge_names(framework, "conv_out"), values, held, (2, 1, 1), (0, 0, 0))
    return torch.relu(values).flatten(1, 2)
