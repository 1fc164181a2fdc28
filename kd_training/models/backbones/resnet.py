"""ResNet-18, 34, 50 and 101 (arXiv:1512.03385) with torchvision's parameter names, so that its weights files fit."""

import torch
from torch import Tensor, nn

from kd_training.models.backbones.frozen import KeepsFrozenNorms

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # of each stage, by depth
WIDTHS = (64, 128, 256, 512)


class ResNet(KeepsFrozenNorms):
    """A ResNet without its classifier; `channels` are those of its three maps.

    What `freeze` keeps does not change in training, batch norm statistics included.
    """

    mean = (123.675, 116.28, 103.53)
    std = (58.395, 57.12, 57.375)

    def __init__(self, depth: int) -> None:
        """`depth` 18, 34, 50 or 101; weights at random."""
        super().__init__()
        block = BasicBlock if depth < 50 else Bottleneck
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        incoming = 64
        for place, (width, blocks) in enumerate(zip(WIDTHS, BLOCKS[depth], strict=True)):
            stage = []
            for index in range(blocks):
                stage.append(block(incoming, width, stride=2 if place > 0 and index == 0 else 1))
                incoming = width * block.expansion
            setattr(self, f"layer{place + 1}", nn.Sequential(*stage))
        self.channels = tuple(width * block.expansion for width in WIDTHS[1:])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised images (N, 3, H, W) -> (N, channels[i], H / s, W / s) at strides s = 8, 16, 32."""
        x = torch.relu(self.bn1(self.conv1(images)))
        x = self.layer1(nn.functional.max_pool2d(x, 3, 2, padding=1))
        c3 = self.layer2(x)
        c4 = self.layer3(c3)
        return c3, c4, self.layer4(c4)

    def freeze(self, stages: int) -> None:
        """Keep the stem and the first `stages` stages as they are; 0 trains everything."""
        parts = [self.conv1, self.bn1, self.layer1, self.layer2, self.layer3, self.layer4]
        for module in parts[: stages + 2] if stages else []:
            module.requires_grad_(requires_grad=False)
        self.train(self.training)


class BasicBlock(nn.Module):
    """ResNet's block of two 3x3 convolutions."""

    expansion = 1

    def __init__(self, incoming: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(incoming, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _downsample(incoming, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, incoming, h, w) -> (N, width, h / stride, w / stride)."""
        identity = x if self.downsample is None else self.downsample(x)
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + identity)


class Bottleneck(nn.Module):
    """ResNet's 1x1, 3x3, 1x1 block with the stride on the 3x3 (torchvision's variant 1.5)."""

    expansion = 4

    def __init__(self, incoming: int, width: int, stride: int) -> None:
        super().__init__()
        outgoing = self.expansion * width
        self.conv1 = nn.Conv2d(incoming, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outgoing, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outgoing)
        self.downsample = _downsample(incoming, outgoing, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, incoming, h, w) -> (N, 4 width, h / stride, w / stride)."""
        identity = x if self.downsample is None else self.downsample(x)
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + identity)


def _downsample(incoming: int, outgoing: int, stride: int) -> nn.Sequential | None:
    """The shortcut where the shape changes."""
    if stride == 1 and incoming == outgoing:
        return None
    return nn.Sequential(nn.Conv2d(incoming, outgoing, 1, stride, bias=False), nn.BatchNorm2d(outgoing))
