"""Which topics of a bag feed the detector, and what is left for the user to choose."""

from pathlib import Path

import pytest
from support.mixed_rig import write_mixed_bag

from kd_perception.bags.reader import BagReader
from kd_perception.bags.writer import BagWriter
from kd_perception.errors import DataError
from kd_perception.options.detector import DetectorOptions
from kd_perception.parity.inputs import detector_of, find_inputs


def test_cameras_transforms_and_transport_are_found(tmp_path):
    bag = write_mixed_bag(tmp_path / "bag", "compressed").path
    inputs = find_inputs(bag, (), ("cam2", "cam0"))
    assert inputs.names() == ("cam2", "cam0", "cam1", "cam3", "cam4")  # the wanted order, then the bag's
    assert inputs.cameras[0].info == "/robot/cam2/camera_info"
    assert (inputs.moving, inputs.static, inputs.odometry) == ("/tf", "/tf_static", "")
    detector = detector_of(inputs, DetectorOptions())
    assert detector.transport == "compressed" and detector.camera_names == inputs.names()
    chosen = find_inputs(bag, ["left=/robot/cam1/image_raw/compressed", "right=/robot/cam3/image_raw/compressed"], ())
    assert chosen.names() == ("left", "right")


def test_two_transports_in_one_bag_are_left_to_the_user(tmp_path):
    with BagWriter(tmp_path / "both") as target:
        for transport, cameras in (("raw", ("cam0", "cam1")), ("compressed", ("cam2",))):
            copy_cameras(write_mixed_bag(tmp_path / transport, transport).path, target, cameras)
    with pytest.raises(DataError, match=r"raw images of cam0, cam1 and compressed ones.*--camera"):
        find_inputs(tmp_path / "both", (), ())


def copy_cameras(source: Path, target: BagWriter, cameras: tuple[str, ...]) -> None:
    reader = BagReader(source)
    types = {topic.name: topic.type_name for topic in reader.topics}
    for topic, stamp_ns, cdr in reader.messages():
        if any(topic.startswith(f"/robot/{camera}/") for camera in cameras):
            target.write_cdr(topic, types[topic], cdr, stamp_ns)
    reader.close()
