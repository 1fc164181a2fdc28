"""A recording of hard_sample_recorder made of an ordinary bag: what its node keeps around chosen stamps."""

from collections.abc import Mapping
from pathlib import Path

from kd_perception.bags.frame_file import RecordedMessage, mcap_bytes, part_of
from kd_perception.bags.reader import BagReader
from kd_perception.continual.recording import KeptFrame, frame_name
from kd_perception.continual.recording_folder import RecordingFolder

BEFORE_NS, AFTER_NS = 600_000_000, 100_000_000


def write_recording(bag: Path, folder: Path, importance: Mapping[int, float]) -> Path:
    """Keep a frame for each stamp (ns) of `importance`: every message from BEFORE_NS before to AFTER_NS after."""
    reader = BagReader(bag)
    types = {topic.name: topic for topic in reader.topics}
    messages = list(reader.messages())
    reader.close()
    recording = RecordingFolder(folder, 1 << 30)
    for stamp_ns, value in importance.items():
        held = [
            RecordedMessage(topic, types[topic].type_name, cdr, logged_ns, latched=types[topic].latched)
            for topic, logged_ns, cdr in messages
            if types[topic].latched or stamp_ns - BEFORE_NS <= logged_ns <= stamp_ns + AFTER_NS
        ]
        content, name = mcap_bytes(held), frame_name(stamp_ns)
        why = f"1 car missed ({value:g})"
        frame = KeptFrame(stamp_ns, name, len(content), value, 1.0, {"missed": 1}, {"car": 1}, {"car": value}, why)
        recording.keep(frame, part_of(name, held), content)
    recording.close()
    return folder
