"""Bags of other recorders, split, packed or killed ones: every message is read, or a sentence says which is not."""

import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from sensor_msgs.msg import CompressedImage
from support.foreign_bags import IMAGE_TYPE, TOPIC, McapStyle, image_cdr, pack, write_mcap, write_ros1

from kd_perception.bags.messages import typestore
from kd_perception.bags.reader import BagReader
from kd_perception.bags.writer import BagWriter
from kd_perception.errors import DataError


def write_bag(path: Path, stamps=range(1, 6), storage: str = "mcap") -> Path:
    with BagWriter(path, storage) as bag:
        for stamp in stamps:
            bag.write_cdr(TOPIC, IMAGE_TYPE, image_cdr(stamp), stamp)
    return path


def read(reader: BagReader) -> list[int]:
    """The stamps read; every message must be the one that was written with its stamp."""
    found = list(reader.messages())
    assert all(topic == TOPIC and cdr == image_cdr(stamp) for topic, stamp, cdr in found)
    return [stamp for _, stamp, _ in found]


def edit_metadata(bag: Path, change) -> None:
    path = bag / "metadata.yaml"
    content = yaml.safe_load(path.read_text())
    change(content["rosbag2_bagfile_information"])
    path.write_text(yaml.safe_dump(content))


def split_bag(folder: Path, parts: int, suffix: str = "mcap") -> Path:
    """A bag of `parts` files with one message each, and their metadata."""
    storage = "mcap" if suffix == "mcap" else "sqlite3"
    names = [f"run_{number}.{suffix}" for number in range(parts)]
    folder.mkdir()
    for number, name in enumerate(names):
        part = write_bag(folder / "part", [number + 1], storage)
        (part / f"part.{suffix}").rename(folder / name)
        (part / "metadata.yaml").replace(folder / "metadata.yaml")
        part.rmdir()

    def list_all(content):
        content["relative_file_paths"] = names
        content["topics_with_message_count"][0]["message_count"] = content["message_count"] = parts

    edit_metadata(folder, list_all)
    return folder


# What metadata.yaml says of QoS does not decide what is read


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("text", ["", "- history: 3\n  depth: 0\n", "not: [yaml", [{"durability": "transient_local"}]])
def test_qos_that_differs_from_the_file_s_loses_no_message(tmp_path, storage, text):
    bag = write_bag(tmp_path / "bag", storage=storage)

    def differ(content):
        content["topics_with_message_count"][0]["topic_metadata"]["offered_qos_profiles"] = text

    edit_metadata(bag, differ)
    reader = BagReader(bag)
    assert read(reader) == [1, 2, 3, 4, 5] and not reader.problems
    assert reader.topics[0].latched == (text == [{"durability": "transient_local"}])


# Messages that are compressed, or no CDR


@pytest.mark.parametrize("plugin", list(StoragePlugin))
@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("mode", [CompressionMode.MESSAGE, CompressionMode.FILE])
def test_compressed_bags_are_unpacked_as_a_folder_and_as_the_bare_file(tmp_path, plugin, bare, mode):
    writer = Writer(tmp_path / "packed", version=9, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection(TOPIC, IMAGE_TYPE, typestore=typestore())
        for stamp in range(1, 6):
            writer.write(connection, stamp, image_cdr(stamp))
    file = next(path for path in (tmp_path / "packed").iterdir() if path.name != "metadata.yaml")
    reader = BagReader(file if bare else tmp_path / "packed")
    assert read(reader) == [1, 2, 3, 4, 5] and not reader.problems
    assert reader.topics[0].count == 5
    reader.close()


def test_an_unknown_compression_is_refused_by_name(tmp_path):
    bag = write_bag(tmp_path / "bag")
    edit_metadata(bag, lambda content: content.update(compression_format="lz4", compression_mode="MESSAGE"))
    with pytest.raises(DataError, match="compressed as 'lz4'.*ros2 bag convert"):
        BagReader(bag)


@pytest.mark.parametrize(
    ("style", "data"),
    [
        (McapStyle("", "json", "jsonschema", "foxglove.CompressedImage"), b'{"format": "jpeg"}'),
        (McapStyle("", "protobuf", "protobuf", "foxglove.CompressedImage"), b"\x0a\x04\x08\x01\x10\x02"),
        (McapStyle("ros1", "ros1", "ros1msg", "sensor_msgs/CompressedImage"), bytes(40)),
    ],
)
def test_other_encodings_are_refused_by_name(tmp_path, style, data):
    file = write_mcap(tmp_path / "x.mcap", [(TOPIC, 1, data)], style)
    with pytest.raises(
        DataError, match=rf"{file}: the messages on {TOPIC} are encoded as '{style.encoding}', not as CDR"
    ):
        BagReader(file)


def test_a_topic_of_another_encoding_does_not_hide_the_others(tmp_path):
    bag = write_bag(tmp_path / "bag")
    write_mcap(tmp_path / "x.mcap", [("/json", 9, b"{}")], McapStyle(encoding="json", schema="jsonschema"))
    (tmp_path / "x.mcap").rename(bag / "bag_1.mcap")
    edit_metadata(bag, lambda content: content["relative_file_paths"].append("bag_1.mcap"))
    reader = BagReader(bag)
    assert read(reader) == [1, 2, 3, 4, 5] and [topic.name for topic in reader.topics] == [TOPIC]
    assert len(reader.problems) == 1 and "/json are encoded as 'json'" in reader.problems[0]


def test_foreign_serialisation_in_sqlite_is_refused_by_name(tmp_path):
    bag = write_bag(tmp_path / "bag", storage="sqlite3")
    with sqlite3.connect(bag / "bag.db3") as database:
        database.execute("UPDATE topics SET serialization_format = 'cbor'")
    with pytest.raises(DataError, match=f"{TOPIC} are encoded as 'cbor'"):
        BagReader(bag)


def test_single_messages_that_are_no_cdr_are_left_out_and_counted(tmp_path):
    content = [(TOPIC, 1, image_cdr(1)), (TOPIC, 2, b'{"a": 1}'), (TOPIC, 3, b""), (TOPIC, 4, image_cdr(4))]
    reader = BagReader(write_mcap(tmp_path / "x.mcap", content))
    assert read(reader) == [1, 4]
    assert reader.problems == [
        f"bag {tmp_path / 'x.mcap'}: 2 of 4 messages on {TOPIC} are not CDR and were left out; "
        "record them with a standard ROS 2 middleware"
    ]


@pytest.mark.parametrize("profile", ["ros2", ""])
def test_short_type_names_and_other_profiles_are_read(tmp_path, profile):
    style = McapStyle(profile=profile, type_name="sensor_msgs/CompressedImage")
    reader = BagReader(write_mcap(tmp_path / "x.mcap", [(TOPIC, 1, image_cdr(1))], style))
    assert read(reader) == [1] and not reader.problems
    assert reader.topics[0].type_name == IMAGE_TYPE


def test_a_second_type_on_a_topic_is_left_out_by_name(tmp_path):
    bag = write_bag(tmp_path / "bag", storage="sqlite3")
    with sqlite3.connect(bag / "bag.db3") as database:
        row = database.execute("SELECT * FROM topics").fetchone()
        database.execute("INSERT INTO topics VALUES (?, ?, ?, ?, ?, ?)", (2, row[1], "std_msgs/msg/String", *row[3:]))
        database.execute("INSERT INTO messages VALUES (NULL, 2, 9, ?)", (image_cdr(9),))
    reader = BagReader(bag)
    assert read(reader) == [1, 2, 3, 4, 5]
    assert len(reader.problems) == 1 and f"{TOPIC} is {IMAGE_TYPE} and also std_msgs/msg/String" in reader.problems[0]


# Parts


@pytest.mark.parametrize("suffix", ["mcap", "db3"])
@pytest.mark.parametrize("metadata", [True, False])
def test_parts_beyond_ten_are_read_by_number(tmp_path, suffix, metadata):
    bag = split_bag(tmp_path / "run", 12, suffix)
    if not metadata:
        (bag / "metadata.yaml").unlink()
    reader = BagReader(bag)
    assert read(reader) == list(range(1, 13)) and reader.message_count == 12
    assert bool(reader.problems) != metadata


def test_the_order_of_metadata_wins(tmp_path):
    bag = split_bag(tmp_path / "run", 3)
    edit_metadata(bag, lambda content: content["relative_file_paths"].reverse())
    assert read(BagReader(bag)) == [3, 2, 1]


def test_missing_and_unlisted_parts_are_named(tmp_path):
    bag = split_bag(tmp_path / "run", 3)
    (bag / "run_1.mcap").rename(bag / "run_10.mcap")
    reader = BagReader(bag)
    assert read(reader) == [1, 3]
    missing, unlisted, short = reader.problems
    assert "its part run_1.mcap is missing" in missing and "run_10.mcap is not in its metadata.yaml" in unlisted
    assert f"2 of 3 recorded messages could be read, too few on {TOPIC} (2 of 3)" in short


@pytest.mark.parametrize("suffix", ["mcap", "db3"])
@pytest.mark.parametrize("share", [1.0, 0.6, 0.0])
def test_a_killed_recorder_s_packed_part_is_read_as_far_as_it_goes_or_reported(tmp_path, suffix, share):
    bag = tmp_path / "bag"
    bag.mkdir()
    storage = "mcap" if suffix == "mcap" else "sqlite3"
    for number, stamps in enumerate((range(1, 4), range(4, 200), range(200, 202))):
        part = write_bag(tmp_path / "part", stamps, storage)
        (part / f"part.{suffix}").rename(bag / f"bag_{number}.{suffix}")
        (part / "metadata.yaml").unlink()
        part.rmdir()
    pack(bag / f"bag_0.{suffix}")
    pack(bag / f"bag_1.{suffix}", share)
    reader = BagReader(bag)
    stamps = read(reader)
    assert stamps[:3] == [1, 2, 3] and stamps[-2:] == [200, 201] and stamps == sorted(stamps)
    if share == 1.0:
        assert stamps == list(range(1, 202)) and len(reader.problems) == 1
    else:
        assert len(stamps) < 201 and any(f"bag_1.{suffix}.zstd" in text for text in reader.problems)


def test_a_part_that_was_being_packed_counts_once(tmp_path):
    bag = write_bag(tmp_path / "bag")
    whole = (bag / "bag.mcap").read_bytes()
    pack(bag / "bag.mcap", 0.3)
    (bag / "bag.mcap").write_bytes(whole)
    (bag / "metadata.yaml").unlink()
    assert read(BagReader(bag)) == [1, 2, 3, 4, 5]


def test_rows_in_a_write_ahead_log_are_read(tmp_path):
    """As sqlite3's resilient preset leaves them when the recorder is killed."""
    bag = write_bag(tmp_path / "bag", storage="sqlite3")
    database = sqlite3.connect(bag / "bag.db3")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("INSERT INTO messages VALUES (NULL, 1, 6, ?)", (image_cdr(6),))
    database.commit()
    (tmp_path / "copy").mkdir()
    for file in bag.iterdir():  # while it is open: closing it would merge the log
        (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    database.close()
    (tmp_path / "copy" / "bag.db3-shm").unlink()
    assert read(BagReader(tmp_path / "copy")) == [1, 2, 3, 4, 5, 6]


# MCAP without an index, in any order; counts


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_mcap_out_of_order_is_read_whole_and_sorted(tmp_path, chunked, index, share):
    stamps = np.random.default_rng(0).permutation(np.arange(1, 101)).tolist()
    content = [(TOPIC, stamp, image_cdr(stamp)) for stamp in stamps]
    file = write_mcap(tmp_path / "x.mcap", content, McapStyle(chunked=chunked, index=index))
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    reader = BagReader(file)
    found = read(reader)
    assert found == sorted(found) and len(found) == reader.message_count
    assert (len(found) == 100 and not reader.problems) if share == 1.0 else (20 < len(found) < 80 and reader.problems)
    assert read(reader) == found  # and again, as a loop does


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_fewer_messages_than_metadata_counts_are_reported(tmp_path, storage):
    bag = write_bag(tmp_path / "bag", storage=storage)

    def more(content):
        content["topics_with_message_count"][0]["message_count"] = 7

    edit_metadata(bag, more)
    reader = BagReader(bag)
    assert read(reader) == [1, 2, 3, 4, 5]
    assert reader.problems == [
        f"bag {bag}: 5 of 7 recorded messages could be read, too few on {TOPIC} (5 of 7); "
        "restore it from a copy or record it again"
    ]
    assert read(reader) == [1, 2, 3, 4, 5] and len(reader.problems) == 1


def test_a_flipped_byte_in_a_chunk_is_noticed(tmp_path):
    content = [(TOPIC, stamp, image_cdr(stamp)) for stamp in range(1, 101)]
    file = write_mcap(tmp_path / "x.mcap", content)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    reader = BagReader(file)
    found = read(reader)
    assert 20 < len(found) < 100 and any("is damaged (x.mcap" in text for text in reader.problems)


@pytest.mark.parametrize("change", ["timestamp = 'soon'", "data = NULL", "data = 'text'"])
def test_malformed_rows_are_counted_and_the_others_read(tmp_path, change):
    bag = write_bag(tmp_path / "bag", storage="sqlite3")
    with sqlite3.connect(bag / "bag.db3") as database:
        columns = "id, topic_id, timestamp, data"
        database.execute(f"CREATE TABLE loose ({columns})")  # as a damaged page has it: no type is enforced
        database.execute(f"INSERT INTO loose SELECT {columns} FROM messages")
        database.execute("DROP TABLE messages")
        database.execute("ALTER TABLE loose RENAME TO messages")
        database.execute(f"UPDATE messages SET {change} WHERE id = 3")
    reader = BagReader(bag)
    assert read(reader) == [1, 2, 4, 5]
    assert len(reader.problems) == 1 and "4 of 5 recorded messages could be read" in reader.problems[0]


@pytest.mark.parametrize("name", [None, b"\xe4"])
def test_malformed_topic_rows_end_in_a_sentence(tmp_path, name):
    bag = write_bag(tmp_path / "bag", storage="sqlite3")
    with sqlite3.connect(bag / "bag.db3") as database:
        database.execute("CREATE TABLE loose (id, name, type, serialization_format)")
        database.execute("INSERT INTO loose VALUES (1, ?, ?, ?)", ("/a", IMAGE_TYPE, name))
        database.execute("DROP TABLE topics")
        database.execute("ALTER TABLE loose RENAME TO topics")
    with pytest.raises(DataError, match="nothing in bag .* /a are encoded as"):
        BagReader(bag)


# ROS 1


@pytest.mark.parametrize("folder", [False, True])
def test_a_ros_1_bag_is_refused_with_the_command_that_converts_it(tmp_path, folder):
    path = write_ros1(tmp_path / "old run" / "run.bag")
    with pytest.raises(DataError, match="is a ROS 1 bag; convert it first: rosbags-convert --src") as error:
        BagReader(path.parent if folder else path)
    arguments = shlex.split(str(error.value).split("rosbags-convert ")[1])
    subprocess.run([sys.executable, "-m", "rosbags.convert", *arguments], check=True)
    reader = BagReader(Path(arguments[-1]))
    images = [deserialize_message(cdr, CompressedImage) for _, _, cdr in reader.messages()]
    assert not reader.problems and [image.header.stamp.sec for image in images] == [1, 2, 3]
    assert [bytes(image.data) for image in images] == [b"\0", b"\0\1", b"\0\1\2"]
    assert images[0].header.frame_id == "front"


def test_messages_of_one_time_keep_the_file_s_order(tmp_path):
    content = [(TOPIC, 5, image_cdr(5)), ("/tf_static", 5, b"\0\1\0\0"), (TOPIC, 5, image_cdr(5))] * 3
    reader = BagReader(write_mcap(tmp_path / "x.mcap", content))
    assert [topic for topic, _, _ in reader.messages()] == [topic for topic, _, _ in content]
