"""Adapters: what brings a student's features into the teacher's space (DistillBEV, arXiv:2309.15109).

They are trained with the student and never ship; the teacher's side stays as it is.
"""

from torch import Tensor, nn
from torch.nn import functional

from kd_training.config.distill import LayerPair
from kd_training.models.center_head import PRE_HEAD, SHARED
from kd_training.models.necks import ConvNormRelu

HEAD_LAYERS = (PRE_HEAD, SHARED)
BLOCKS = 3


def build_adapter(pair: LayerPair, incoming: int, outgoing: int) -> nn.Module:
    """Of the layer before the head one 1x1 convolution; of the others three 1x1 blocks at the teacher's resolution;
    none between the heads' shared blocks of one size: inherited task heads read both alike."""
    if pair == LayerPair(SHARED, SHARED) and incoming == outgoing:
        return SameSpace()
    if pair.student in HEAD_LAYERS:
        return LinearAdapter(incoming, outgoing)
    return BlockAdapter(incoming, outgoing)


class SameSpace(nn.Module):
    """Features (B, channels, rows, columns) as they are, at the teacher's resolution."""

    def forward(self, features: Tensor, shape: tuple[int, int]) -> Tensor:
        return resized(features, shape)


class LinearAdapter(nn.Module):
    """A 1x1 convolution: features (B, incoming, rows, columns) -> (B, outgoing, *shape)."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(incoming, outgoing, 1)

    def forward(self, features: Tensor, shape: tuple[int, int]) -> Tensor:
        return self.convolution(resized(features, shape))


class BlockAdapter(nn.Module):
    """Bilinear upsampling, then blocks of 1x1 convolution, batch norm and ReLU: features (B, incoming, rows, columns)
    -> (B, outgoing, *shape)."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(ConvNormRelu(incoming if index == 0 else outgoing, outgoing, kernel=1) for index in range(BLOCKS))
        )

    def forward(self, features: Tensor, shape: tuple[int, int]) -> Tensor:
        return self.blocks(resized(features, shape))


def resized(features: Tensor, shape: tuple[int, int]) -> Tensor:
    """Features (B, C, rows, columns) at another resolution of the same extent: corners of corner cells coincide, not
    their centres."""
    if features.shape[2:] == shape:
        return features
    return functional.interpolate(features, size=tuple(shape), mode="bilinear", align_corners=False)
