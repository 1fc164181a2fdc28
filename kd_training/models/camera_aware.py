"""BEVDepth's camera-aware depth network (arXiv:2206.10092): where a feature lies depends on the camera that saw it.

The camera's parameters weight the channels from which depth and context are read (squeeze-and-excitation,
arXiv:1709.01507). Both have weights of their own, and residual blocks work on depth alone. Differences from the paper:
no deformable convolution (no engine but ONNX Runtime has it as a plain operator), and parameters as
`student.camera_params` gives them. It starts as DepthContext, whose weights it can load: the gates are 1 and the
residual blocks add nothing.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from kd_perception.student.camera_params import CAMERA_PARAMS
from kd_training.models.bev_encoder import ResidualBlock
from kd_training.models.necks import DepthContext


class CameraAwareDepth(DepthContext):
    """DepthContext whose depth and context each depend on the camera that sees."""

    added_modules = ("camera", "depth")  # what DepthContext lacks

    def __init__(self, channels: int, bins: int, context: int, blocks: int) -> None:
        super().__init__(channels, bins, context)
        self.camera = CameraGates(channels)
        self.depth = nn.Sequential(*(_as_identity(ResidualBlock(channels, channels)) for _ in range(blocks)))

    def forward(self, features: Tensor, camera_params: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, channels, rows, columns), camera_params (N, CAMERA_PARAMS) -> depth logits, context.

        These are (N, bins, rows, columns) and (N, context, rows, columns).
        """
        hidden = self.hidden(features)
        of_depth, of_context = self.camera(camera_params)
        depth_half, context_half = self.output_halves
        return (
            functional.conv2d(self.depth(hidden * of_depth), *depth_half),
            functional.conv2d(hidden * of_context, *context_half),
        )


class CameraGates(nn.Module):
    """Turns camera parameters into factors in (0, 2), one per channel; all are 1 until they are trained."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Linear(CAMERA_PARAMS, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU()
        )
        for layer in self.hidden[::2]:  # PyTorch's default initialisation all but hides how cameras differ
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        self.gates = nn.Linear(channels, 2 * channels)
        nn.init.zeros_(self.gates.weight)
        nn.init.zeros_(self.gates.bias)

    def forward(self, camera_params: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters (N, CAMERA_PARAMS) -> factors (N, channels, 1, 1) for depth and for context."""
        both = 2.0 * torch.sigmoid(self.gates(self.hidden(camera_params)))
        return both[:, :, None, None].chunk(2, dim=1)


def _as_identity(block: ResidualBlock) -> ResidualBlock:
    """The block as the identity (of features >= 0): its residual branch adds 0 until it is trained."""
    nn.init.zeros_(block.second[1].weight)
    return block
