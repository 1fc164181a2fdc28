"""Temporal memory in torch: BEV features of an earlier frame, warped to the current one, fused, and read as velocity.

Both parts add to what the single-frame student computes, and start at zero. A temporal student therefore starts as the
single-frame student whose weights it loads, and with an empty memory it always is one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from kd_training.models.necks import ConvNormRelu

CONSTANT_CHANNELS = 2  # memory_valid, and the interval in seconds


class MemoryFusion(nn.Module):
    """What the warped features of an earlier frame add to the current ones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.compare = ConvNormRelu(2 * channels + CONSTANT_CHANNELS, channels)
        self.output = nn.Conv2d(channels, channels, 1, bias=False)
        nn.init.zeros_(self.output.weight)

    def forward(self, current: Tensor, memory: Tensor, warp: Tensor, valid: Tensor, interval: Tensor) -> Tensor:
        """current, memory (B, channels, rows, columns) -> what memory adds to current, of the same shape.

        memory lies on the earlier frame's grid; warp (B, rows, columns, 2) says where each current cell lies there.
        valid (B,) is 1 or 0, interval (B,) is in seconds.
        """
        valid = valid.reshape(-1, 1, 1, 1)
        warped = functional.grid_sample(memory, warp, mode="bilinear", padding_mode="zeros", align_corners=False)
        constants = torch.cat([valid, valid * interval.reshape(-1, 1, 1, 1)], dim=1).expand(-1, -1, *current.shape[2:])
        remembered = torch.cat([warped * valid, constants], dim=1).to(current.dtype)
        return self.output(self._compared(current, remembered)) * valid

    def _compared(self, current: Tensor, remembered: Tensor) -> Tensor:
        """`compare` of both concatenated, computed as the sum of a convolution of each.

        Concatenating would make engines bring both into one memory layout, which takes OpenVINO longer than the
        convolution.
        """
        convolution, norm, activation = self.compare
        of_current, of_memory = convolution.weight.split([current.shape[1], remembered.shape[1]], dim=1)
        both = functional.conv2d(current, of_current, padding=1) + functional.conv2d(remembered, of_memory, padding=1)
        return activation(norm(both))


class MotionHead(nn.Module):
    """What memory adds to the velocity codes.

    Two aligned frames show a displacement; velocity is that divided by the interval. The network predicts the
    displacement, in units of the velocity codes times seconds, and the division happens outside: the same motion is
    then right at 2 Hz and at 10 Hz by construction. The interval is also an input of the fusion, since a displacement
    over a short one says less. What stands at a cell moves one way whatever its class, so one field serves all groups.
    """

    def __init__(self, incoming: int, hidden: int) -> None:
        super().__init__()
        self.hidden = ConvNormRelu(incoming, hidden)
        self.displacement = nn.Conv2d(hidden, 2, 3, padding=1)
        nn.init.zeros_(self.displacement.weight)
        nn.init.zeros_(self.displacement.bias)

    def forward(self, bev: Tensor, valid: Tensor, interval: Tensor) -> Tensor:
        """BEV features (B, incoming, rows, columns), valid, interval (B,) -> velocity codes (B, 1, 2, rows, ...)."""
        rate = (valid / interval).reshape(-1, 1, 1, 1)
        return (self.displacement(self.hidden(bev)).float() * rate).unsqueeze(1)
