"""Which messages of other packages a node can make here, known when it is configured."""

from collections.abc import Sequence

import numpy as np

from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.messages.builder import Message, MessageBuilder
from kd_perception.messages.detections import FORMATS, DetectionFormat, Detections
from kd_perception.ros.live import LIVE
from kd_perception.ros.message_types import message_class


def chosen_formats(names: Sequence[str]) -> dict[str, DetectionFormat]:
    """The formats of the option `output_messages`, each tried on a box.

    Raises ConfigError if none is chosen or one cannot be published here.
    """
    if not names:
        raise ConfigError(f"parameter output_messages is empty, but must be one or more of {', '.join(FORMATS)}")
    chosen = {name: FORMATS[name] for name in FORMATS if name in names}
    box = Boxes(np.zeros((1, 3)), np.ones((1, 3)), np.zeros(1), np.zeros((1, 2)), np.zeros(1, np.int64), np.ones(1))
    for name, kind in chosen.items():
        try:
            kind.build(MessageBuilder(_make_of_known_fields), Detections(box, 0, ""))
        except DataError as error:
            package = kind.package.replace("_", "-")
            raise ConfigError(
                f"parameter output_messages has '{name}', but {error}; install ros-$ROS_DISTRO-{package}, or leave "
                f"'{name}' out"
            ) from error
    return chosen


def _make_of_known_fields(type_name: str, **fields: object) -> Message:
    """`LIVE.make` where every field must exist: the generated classes pass over those that they do not have."""
    try:
        unknown = fields.keys() - message_class(type_name).get_fields_and_field_types().keys()
    except DataError as error:
        raise DataError(f"{type_name.partition('/')[0]} is not installed") from error
    if unknown:
        raise DataError(f"the installed {type_name} has no field {', '.join(sorted(unknown))}, it is another version")
    return LIVE.make(type_name, **fields)
