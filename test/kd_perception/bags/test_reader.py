"""Reading bags: whole, of both storages, and what is left of damaged ones."""

import numpy as np
import pytest

from kd_perception.bags import messages
from kd_perception.bags.messages import BAG
from kd_perception.bags.reader import BagReader
from kd_perception.bags.writer import BagWriter
from kd_perception.errors import DataError

COUNT = 300


def write(path, storage="mcap"):
    """A bag of noise images and one latched transform; what it must read."""
    rng = np.random.default_rng(0)
    written = []
    with BagWriter(path, storage) as bag:
        bag.write("/tf_static", messages.tf(0, [("map", "odom", np.eye(4))]), 0)
        for stamp in range(1, COUNT + 1):
            data = rng.integers(0, 256, 20_000, dtype=np.uint8).tobytes()
            bag.write("/CAM_FRONT/image/compressed", BAG.compressed_image(stamp, "CAM_FRONT", data, "jpeg"), stamp)
            written.append(data)
    return written


def storage_file(path):
    return next(p for p in path.iterdir() if p.suffix in (".mcap", ".db3"))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("single_file", [False, True])
def test_whole_bags(tmp_path, storage, single_file):
    written = write(tmp_path / "bag", storage)
    reader = BagReader(storage_file(tmp_path / "bag") if single_file else tmp_path / "bag")
    assert not reader.problems and reader.message_count == COUNT + 1
    topics = {topic.name: topic for topic in reader.topics}
    assert topics["/tf_static"].latched and not topics["/CAM_FRONT/image/compressed"].latched
    assert topics["/CAM_FRONT/image/compressed"].type_name == "sensor_msgs/msg/CompressedImage"
    read = list(reader.messages())
    assert [stamp for _, stamp, _ in read] == list(range(COUNT + 1))
    assert all(data in cdr for data, (_, _, cdr) in zip(written, read[1:], strict=True))  # bytes untouched
    reader.close()


@pytest.mark.parametrize("without_metadata", [False, True])
def test_a_truncated_mcap_gives_what_can_be_read(tmp_path, without_metadata):
    """A recorder that was killed leaves no index, and often no metadata.yaml."""
    written = write(tmp_path / "bag")
    file = storage_file(tmp_path / "bag")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    if without_metadata:
        (tmp_path / "bag" / "metadata.yaml").unlink()
    reader = BagReader(tmp_path / "bag")
    assert any("damaged or was not closed" in text and str(tmp_path / "bag") in text for text in reader.problems)
    read = list(reader.messages())
    images = [cdr for topic, _, cdr in read if topic != "/tf_static"]
    assert COUNT // 4 < len(images) < COUNT and reader.message_count == len(read)
    assert all(data in cdr for data, cdr in zip(written, images, strict=False))
    assert {topic.name for topic in reader.topics if topic.latched} == {"/tf_static"}


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("share", [0.001, 0.02, 0.3, 0.6, 0.9, 0.995, 0.99999])
@pytest.mark.parametrize("without_metadata", [False, True])
def test_a_bag_cut_anywhere_is_read_as_far_as_it_goes_or_refused_in_a_sentence(
    tmp_path, storage, share, without_metadata
):
    written = write(tmp_path / "bag", storage)
    file = storage_file(tmp_path / "bag")
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    if without_metadata:
        (tmp_path / "bag" / "metadata.yaml").unlink()
    try:
        reader = BagReader(tmp_path / "bag")
    except DataError as error:
        assert share < 0.05, error
        assert str(tmp_path / "bag") in str(error) and "restore it from a copy" in str(error)
        return
    read = [cdr for topic, _, cdr in reader.messages() if topic != "/tf_static"]
    reader.close()
    assert any("is damaged" in text or "was not closed" in text for text in reader.problems) or len(read) == COUNT
    assert all(data in cdr for data, cdr in zip(written, read, strict=False))  # nothing made up, nothing skipped
    if share >= 0.3:
        assert len(read) > COUNT * (share - 0.25)  # what is lost is the chunk, or the pages, that were cut


def test_a_missing_metadata_file_is_no_loss(tmp_path):
    write(tmp_path / "bag")
    (tmp_path / "bag" / "metadata.yaml").unlink()
    reader = BagReader(tmp_path / "bag")
    assert "metadata" in " ".join(reader.problems) and len(list(reader.messages())) == COUNT + 1


@pytest.mark.parametrize("content", [b"", b"this is no bag"])
def test_files_that_are_no_bags_are_refused(tmp_path, content):
    (tmp_path / "x.mcap").write_bytes(content)
    with pytest.raises(DataError, match="x.mcap"):
        BagReader(tmp_path / "x.mcap")


def test_missing_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        BagReader(tmp_path / "nothing")
    with pytest.raises(DataError, match="holds no .mcap or .db3"):
        BagReader(tmp_path)
