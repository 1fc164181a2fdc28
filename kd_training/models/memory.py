"""Temporal memory in torch: the BEV features of an earlier frame, warped to the current one, fused and turned to speed.

Both parts add to what the single-frame student computes and start at zero, so that a temporal student begins as the
single-frame student whose weights it takes, and with an empty memory always is one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from kd_training.models.necks import ConvNormRelu

CONSTANT_CHANNELS = 2  # memory_valid, and the interval in seconds


class MemoryFusion(nn.Module):
    """Current and warped earlier features (B, C, rows, columns) each -> what the earlier adds to the current, same
    shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.compare = ConvNormRelu(2 * channels + CONSTANT_CHANNELS, channels)
        self.output = nn.Conv2d(channels, channels, 1, bias=False)
        nn.init.zeros_(self.output.weight)

    def forward(self, current: Tensor, memory: Tensor, warp: Tensor, valid: Tensor, interval: Tensor) -> Tensor:
        """memory on its own frame's grid, warp (B, rows, columns, 2); valid, interval (B,)."""
        valid = valid.reshape(-1, 1, 1, 1)
        warped = functional.grid_sample(memory, warp, mode="bilinear", padding_mode="zeros", align_corners=False)
        constants = torch.cat([valid, valid * interval.reshape(-1, 1, 1, 1)], dim=1).expand(-1, -1, *current.shape[2:])
        remembered = torch.cat([warped * valid, constants], dim=1).to(current.dtype)
        return self.output(self._compared(current, remembered)) * valid

    def _compared(self, current: Tensor, remembered: Tensor) -> Tensor:
        """`compare` of both, concatenated, computed as a convolution of each, added: engines then need not bring both
        into one memory layout first, which took OpenVINO longer than the convolution."""
        convolution, norm, activation = self.compare
        of_current, of_memory = convolution.weight.split([current.shape[1], remembered.shape[1]], dim=1)
        both = functional.conv2d(current, of_current, padding=1) + functional.conv2d(remembered, of_memory, padding=1)
        return activation(norm(both))


class MotionHead(nn.Module):
    """BEV features (B, C, rows, columns) -> what memory adds to the velocity codes (B, 1, 2, rows, columns), in m/s.

    Two aligned frames show how far something moved, in metres; its velocity is that over the interval. So the network
    predicts the displacement and the division is done outside it: the same motion at 2 Hz and at 10 Hz is then right by
    construction. The interval is an input of the fusion, too, since over a short one a displacement says less. What is
    at a cell moves one way whatever its class: one field serves all groups.
    """

    def __init__(self, incoming: int, hidden: int) -> None:
        super().__init__()
        self.hidden = ConvNormRelu(incoming, hidden)
        self.displacement = nn.Conv2d(hidden, 2, 3, padding=1)
        nn.init.zeros_(self.displacement.weight)
        nn.init.zeros_(self.displacement.bias)

    def forward(self, bev: Tensor, valid: Tensor, interval: Tensor) -> Tensor:
        rate = (valid / interval).reshape(-1, 1, 1, 1)
        return (self.displacement(self.hidden(bev)).float() * rate).unsqueeze(1)
