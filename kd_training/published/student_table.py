"""A published BEVDet (BEVDet's repository) or BEVDepth (Megvii's) next to a student of ours.

Image backbones are the same network, and BEVDet's 1x1 convolutions before the pyramid are. Behind them both differ from
ours: bins of depth, depth network, BEV encoder, head input. Such a checkpoint covers the image half, and never all.
"""

from torch import Tensor

from kd_perception.errors import DataError
from kd_training.published.coverage import Pair
from kd_training.published.files import PublishedFile

BACKBONES = ("img_backbone.", "backbone.img_backbone.")  # of BEVDet; of BEVDepth
LATERALS = "img_neck.lateral_convs"


def student_pairs(file: PublishedFile, wanted: dict[str, Tensor]) -> list[Pair]:
    """The pairs of a student's image half, whose tensors are `wanted`; raises DataError for another layout."""
    prefix = next((name for name in BACKBONES if f"{name}conv1.weight" in file.state), None)
    if prefix is None:
        names = ", ".join(list(file.state)[:3])
        raise DataError(
            f"{file.path} is no BEVDet or BEVDepth of a known layout: its tensors are called {names} ...; known are "
            f"{' and '.join(f'{name}conv1.weight' for name in BACKBONES)}"
        )
    backbone = [name for name in wanted if name.startswith("backbone.") and not name.endswith("num_batches_tracked")]
    pairs = [Pair(name, (f"{prefix}{name.removeprefix('backbone.')}",)) for name in backbone]
    laterals = sorted({name.split(".")[2] for name in wanted if name.startswith("neck.lateral.")})
    for place in laterals:
        if f"{LATERALS}.{place}.conv.weight" in file.state:
            pairs += [
                Pair(f"neck.lateral.{place}.{kind}", (f"{LATERALS}.{place}.conv.{kind}",))
                for kind in ("weight", "bias")
            ]
    return pairs
