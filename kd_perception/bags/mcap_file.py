"""Reads an MCAP file in order of time, with its index or without: unchunked, out of order, or cut.

The recorder was killed, the disk was full, a copy broke off: such a file is read front to back up to the break.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mcap import records
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader, breakup_chunk

from kd_perception.bags.channel import Channel, is_latched


@dataclass(frozen=True)
class _Index:
    """blocks: (earliest recording time in ns, offset) of each chunk, or of each message that is in none."""

    channels: tuple[Channel, ...]
    blocks: tuple[tuple[int, int], ...]
    damage: str = ""


class McapFile:
    """A StorageFile; memory holds the chunks that overlap in time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        index = _written_index(path) or _scanned_index(path)
        self.channels, self._blocks, self.damage = index.channels, index.blocks, index.damage

    def messages(self) -> Iterator[tuple[int, int, bytes]]:
        """(channel id, recording time in ns, bytes) in order of time, then of the file."""
        queue = [(start_ns, offset, -1, None) for start_ns, offset in self._blocks]
        heapq.heapify(queue)
        with open(self._path, "rb") as stream:
            while queue:
                stamp_ns, offset, _, message = heapq.heappop(queue)
                if message is not None:
                    yield message.channel_id, stamp_ns, message.data
                    continue
                for place, message in enumerate(_block(stream, offset)):
                    heapq.heappush(queue, (message.log_time, offset, place, message))


def _written_index(path: Path) -> _Index | None:
    """The index at the file's end, or None where there is none, or none that covers all messages."""
    try:
        with open(path, "rb") as stream:
            summary = make_reader(stream).get_summary()
    except Exception:  # a cut file has any bytes at its end: the library has its own types, struct and codecs theirs
        return None
    if summary is None or summary.statistics is None or not summary.chunk_indexes:
        return None
    named = {id_ for chunk in summary.chunk_indexes for id_ in chunk.message_index_offsets}
    counts = summary.statistics.channel_message_counts
    if not (named | set(counts)) <= set(summary.channels) or summary.statistics.message_count != sum(counts.values()):
        return None
    blocks = tuple((chunk.message_start_time, chunk.chunk_start_offset) for chunk in summary.chunk_indexes)
    return _Index(_channels(summary.channels, summary.schemas, counts), blocks)


def _scanned_index(path: Path) -> _Index:
    """The index of what can be read front to back."""
    schemas: dict[int, records.Schema] = {}
    channels: dict[int, records.Channel] = {}
    counts: Counter[int] = Counter()
    blocks: list[tuple[int, int]] = []
    damage = ""
    with open(path, "rb") as stream:
        content = iter(StreamReader(stream, emit_chunks=True).records)
        while True:
            offset = stream.tell()
            try:
                inner = _inner_records(next(content))
            except StopIteration:
                break
            except Exception as error:  # a cut record; decompressors raise their own types on a cut chunk
                damage = str(error) or type(error).__name__
                break
            schemas |= {record.id: record for record in inner if isinstance(record, records.Schema)}
            channels |= {record.id: record for record in inner if isinstance(record, records.Channel)}
            messages = [record for record in inner if isinstance(record, records.Message)]
            counts.update(message.channel_id for message in messages)
            if messages:
                blocks.append((min(message.log_time for message in messages), offset))
    return _Index(_channels(channels, schemas, counts), tuple(blocks), damage)


def _block(stream: BinaryIO, offset: int) -> list[records.Message]:
    """The messages of the chunk, or the message, at an offset."""
    stream.seek(offset)
    record = next(iter(StreamReader(stream, skip_magic=True, emit_chunks=True).records))
    return [inner for inner in _inner_records(record) if isinstance(inner, records.Message)]


def _inner_records(record: records.McapRecord) -> list[records.McapRecord]:
    return breakup_chunk(record, validate_crc=True) if isinstance(record, records.Chunk) else [record]


def _channels(
    channels: Mapping[int, records.Channel], schemas: Mapping[int, records.Schema], counts: Mapping[int, int]
) -> tuple[Channel, ...]:
    return tuple(
        Channel(
            id=id_,
            topic=channel.topic,
            type_name=schemas[channel.schema_id].name if channel.schema_id in schemas else "",
            encoding=channel.message_encoding.lower(),
            count=counts.get(id_, 0),
            latched=is_latched(channel.topic, channel.metadata.get("offered_qos_profiles")),
        )
        for id_, channel in channels.items()
    )
