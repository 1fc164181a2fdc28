"""Configuration of three more ways to imitate the features of distill.layers. A weight of 0 switches a term off."""

from dataclasses import dataclass


@dataclass
class ChannelGroupsConfig:
    """Imitation of groups of channels, each standardised, that count by the teacher's energy."""

    weight: float = 0.0
    groups: int = 4  # it divides the channels of the teacher's layers
    normalised: bool = True  # off: exactly the mean squared error, a control


@dataclass
class VolumeAttentionConfig:
    """Imitation of features and of where they are strong, in height as well where the teacher's layer has heights."""

    weight: float = 0.0


@dataclass
class ObjectWeightsConfig:
    """Imitation of features within boxes: small and far objects count more."""

    weight: float = 0.0
    spread: float = 1.0  # of the logarithm of volumes: how soon a box is small
    distance: float = 1.0  # eta: at the grid's farthest corner an object counts 1 + eta times as much
