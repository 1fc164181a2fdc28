"""Adapters: bring a student's features into the teacher's space (DistillBEV, arXiv:2309.15109).

They train with the student and never ship. The teacher's features stay as they are.
"""

from torch import Tensor, nn
from torch.nn import functional

from kd_training.config.distill import LayerPair
from kd_training.models.center_head import PRE_HEAD, SHARED
from kd_training.models.necks import ConvNormRelu

HEAD_LAYERS = (PRE_HEAD, SHARED)
BLOCKS = 3


def build_adapter(pair: LayerPair, incoming: int, outgoing: int) -> nn.Module:
    """One 1x1 convolution for layers at the head, three 1x1 blocks at the teacher's resolution for the others."""
    if pair.student in HEAD_LAYERS:
        return LinearAdapter(incoming, outgoing)
    return BlockAdapter(incoming, outgoing)


class LinearAdapter(nn.Module):
    """Bilinear resampling, then a 1x1 convolution."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(incoming, outgoing, 1)

    def forward(self, features: Tensor, shape: tuple[int, int]) -> Tensor:
        """(B, incoming, rows, columns) -> (B, outgoing, *shape)."""
        return self.convolution(resized(features, shape))


class BlockAdapter(nn.Module):
    """Bilinear resampling, then blocks of 1x1 convolution, batch norm and ReLU."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(ConvNormRelu(incoming if index == 0 else outgoing, outgoing, kernel=1) for index in range(BLOCKS))
        )

    def forward(self, features: Tensor, shape: tuple[int, int]) -> Tensor:
        """(B, incoming, rows, columns) -> (B, outgoing, *shape)."""
        return self.blocks(resized(features, shape))


def resized(features: Tensor, shape: tuple[int, int]) -> Tensor:
    """Features (B, C, rows, columns) at another resolution of the same extent: (B, C, *shape).

    The corners of corner cells coincide, not their centres.
    """
    if features.shape[2:] == shape:
        return features
    return functional.interpolate(features, size=tuple(shape), mode="bilinear", align_corners=False)
