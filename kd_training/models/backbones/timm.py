"""Any backbone of the library timm, where it is installed: `timm/<name>`."""

from collections.abc import Mapping

from torch import Tensor

from kd_perception.errors import ConfigError
from kd_training.models.backbones.frozen import KeepsFrozenNorms

STRIDES = (8, 16, 32)


class TimmBackbone(KeepsFrozenNorms):
    """timm's feature extractor of that name; `channels` are those of its three maps, `mean` and `std` normalise.

    Its weights are random: nothing is downloaded.
    """

    def __init__(self, name: str) -> None:
        """Raises ConfigError if timm does not import or has no such pyramid."""
        super().__init__()
        try:
            import timm
        except (ImportError, RuntimeError, OSError) as error:  # its torchvision may be of another torch
            raise ConfigError(
                f"backbone timm/{name} needs timm, which does not import ({' '.join(str(error).split())}); pip install "
                "timm with the torchvision of this torch, or choose another backbone"
            ) from error
        try:
            self.network = timm.create_model(name, features_only=True, pretrained=False)
            reductions = list(self.network.feature_info.reduction())
            self.levels = tuple(reductions.index(stride) for stride in STRIDES)
        except (RuntimeError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"timm has no feature pyramid '{name}' with strides 8, 16 and 32 ({' '.join(str(error).split())}); "
                "timm.list_models() names its models"
            ) from error
        channels = self.network.feature_info.channels()
        self.channels = tuple(channels[level] for level in self.levels)
        wanted = self.network.default_cfg
        self.mean = tuple(255.0 * value for value in wanted["mean"])
        self.std = tuple(255.0 * value for value in wanted["std"])

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Normalised images (N, 3, H, W) -> (N, channels[i], H / s, W / s) at strides s = 8, 16, 32."""
        maps = self.network(images)
        return tuple(maps[level] for level in self.levels)

    def freeze(self, stages: int) -> None:
        """Keep the stem and the first `stages` stages (strides up to 2^(stages + 1)) as they are; 0 trains everything.

        Raises ConfigError where timm does not report which parameters those are.
        """
        if not stages:
            return
        info = self.network.feature_info
        level = list(info.reduction()).index(min(2 ** (stages + 1), STRIDES[-1]))
        last = info.module_name()[level]
        parameters = dict(self.network.named_parameters())
        ends = [i for i, name in enumerate(parameters) if name.startswith((f"{last}.", f"{last.replace('.', '_')}."))]
        if not ends:
            raise ConfigError(
                f"the stages of timm's {type(self.network).__name__} cannot be frozen; set schedule.freeze_stages to 0"
            )
        for parameter in list(parameters.values())[: ends[-1] + 1]:  # timm registers parts in their order
            parameter.requires_grad_(requires_grad=False)
        self.train(self.training)

    def matching(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The part of a whole model's state dict that this backbone has, by its own names.

        timm's feature extractors join names with underscores and leave out the layers behind the last level.
        """
        theirs = {name.replace(".", "_"): value for name, value in state.items()}
        ours = self.network.state_dict()
        return {name: theirs[flat] for name in ours if (flat := name.replace(".", "_")) in theirs}
