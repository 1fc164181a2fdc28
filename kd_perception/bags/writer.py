"""Writes rosbag2 bags (MCAP or sqlite3) that are either whole or absent, with QoS recorded per topic."""

import secrets
import shutil
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer

from kd_perception.bags.channel import LATCHED_TOPICS
from kd_perception.bags.messages import Message, typestore
from kd_perception.errors import DataError

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
BAG_VERSION = 9  # rosbag2's metadata since Jazzy


class BagWriter:
    """A context manager: the bag appears at `path` when the block ends well, and not at all when it raises.

    Written in a hidden folder next to `path`, then renamed. Raises DataError if `path` exists (unless `overwrite`), the
    storage is unknown, or the disk takes no more: nothing of the bag is left then, and an older one stays.
    """

    def __init__(self, path: Path, storage: str = "mcap", *, overwrite: bool = False) -> None:
        self.path = Path(path)
        if storage not in STORAGES:
            raise DataError(f"bag storage '{storage}' is unknown; choose one of: {', '.join(STORAGES)}")
        if self.path.exists() and not overwrite:
            raise DataError(
                f"bag {self.path} exists already; remove it, choose another path, or overwrite it (--force)"
            )
        self._storage = STORAGES[storage]
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> "BagWriter":
        self._scratch = self.path.parent / f".{self.path.name}.{secrets.token_hex(4)}"
        # Ctrl-C may strike between here and the with block, where __exit__ is not called yet: then this cleans up.
        weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        with self._refusals_named():
            self._scratch.mkdir(parents=True)
            self._writer = Writer(self._scratch / self.path.name, version=BAG_VERSION, storage_plugin=self._storage)
            self._writer.open()
        return self

    def write(self, topic: str, message: Message, stamp_ns: int) -> None:
        """Append a message of rosbags' type store; `stamp_ns` is its recording time, by which bags are played."""
        self.write_cdr(
            topic, message.__msgtype__, bytes(typestore().serialize_cdr(message, message.__msgtype__)), stamp_ns
        )

    def write_cdr(self, topic: str, type_name: str, cdr: bytes, stamp_ns: int) -> None:
        """Append a serialised message of `type_name` ('sensor_msgs/msg/Image')."""
        with self._refusals_named():
            if topic not in self._connections:
                qos = [recorded_qos(latched=topic in LATCHED_TOPICS)]
                self._connections[topic] = self._writer.add_connection(
                    topic, type_name, typestore=typestore(), offered_qos_profiles=qos
                )
            self._writer.write(self._connections[topic], stamp_ns, cdr)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with self._refusals_named():
                    self._writer.close()
                    self._publish()
            else:
                with suppress(Exception):  # the storage may be what failed
                    self._writer.abort()
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    @contextmanager
    def _refusals_named(self) -> Iterator[None]:
        """Turn what the disk refuses into a sentence."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DataError(
                f"bag {self.path} cannot be written ({reason}); make room or choose another disk, then write it again"
            ) from error

    def _publish(self) -> None:
        """Move the finished bag into place; an older one goes only when the new one is complete."""
        if self.path.exists():
            self.path.rename(self._scratch / "replaced")
        (self._scratch / self.path.name).rename(self.path)


def recorded_qos(*, latched: bool) -> Qos:
    """Reliable, keep last 10; `latched` topics are transient_local, so that late subscribers get them."""
    forever = QosTime(2147483647, 4294967295)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=forever,
        lifespan=forever,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=forever,
        avoid_ros_namespace_conventions=False,
    )
