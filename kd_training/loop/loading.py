"""Batches from worker processes, so that signals, faults and little shared memory mean what they mean without workers.

Workers pass tensors through shared memory. Docker gives a container 64 MB of it: there a worker waits for ever, so that
batches go through pipes instead.
"""

import io
import os
import pickle
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kd_perception.errors import KdError
from kd_perception.interrupts import ignore_all
from kd_training.loop.forward_backward import TrainingError
from kd_training.tasks.task import DeviceBatch

SHARED_MEMORY = Path("/dev/shm")
AHEAD = 2  # batches that a worker prepares, or a thread moves
SPARE = 1.5  # batches differ in size, and others use the memory, too


class _Plain(pickle.Pickler):
    """Tensors as the bytes of their arrays: torch's own way leads through shared memory or a whole file each."""

    def reducer_override(self, value: object) -> object:
        return (torch.from_numpy, (value.numpy(),)) if isinstance(value, Tensor) else NotImplemented


class _InWorker(Dataset):
    """A task's batches as workers send them: errors of the data as values, batches as bytes where `packed`."""

    def __init__(self, batches: Dataset, *, packed: bool) -> None:
        self._batches, self._packed = batches, packed

    def __getitem__(self, index: int) -> DeviceBatch | bytes | KdError:
        try:
            batch = self._batches[index]
        except KdError as error:  # raised, it would come with the worker's traceback in place of its sentence
            return error
        return packed(batch) if self._packed else batch


def batches_of_workers(batches: Dataset, indices: Sequence[int], workers: int) -> tuple[Iterator[DeviceBatch], str]:
    """The batches at the indices, prepared by `workers` processes; and a sentence if they go through pipes.

    The iterator raises what the batches raise.
    """
    if not len(indices):
        return iter(()), ""
    wanted = SPARE * AHEAD * workers * processes_here() * len(packed(batches[indices[0]]))
    through_pipes = wanted > (free := free_shared_memory())
    loader = DataLoader(
        _InWorker(batches, packed=through_pipes), None, sampler=indices, num_workers=workers,
        prefetch_factor=AHEAD, worker_init_fn=_begin,
    )  # fmt: skip
    sentence = (
        f"{SHARED_MEMORY} has {free / 1e6:.0f} MB free and {workers} workers want {wanted / 1e6:.0f} MB: batches go "
        "through pipes, which takes longer; enlarge it (docker run --shm-size=8g) or lower data.workers"
    )
    return _unpacked(iter(loader)), sentence if through_pipes else ""


def batches_ahead(batches: Iterator[DeviceBatch], device: torch.device) -> Iterator[DeviceBatch]:
    """The batches on a device: a thread fetches the next ones and starts their copies while the loop computes.

    The iterator raises what the batches raise, where they would have come.
    """
    with ThreadPoolExecutor(1, "batches ahead") as thread:
        coming = deque(thread.submit(_fetched, batches, device) for _ in range(AHEAD))
        try:
            while (batch := coming.popleft().result()) is not None:
                coming.append(thread.submit(_fetched, batches, device))
                yield batch
        finally:
            thread.shutdown(cancel_futures=True)


def _fetched(batches: Iterator[DeviceBatch], device: torch.device) -> DeviceBatch | None:
    batch = next(batches, None)
    return None if batch is None else batch.to(device)


@contextmanager
def dead_workers_told() -> Iterator[None]:
    """Raise TrainingError where PyTorch notices, anywhere in the block, that a worker has died."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            f"a worker that loads data ended ({str(error).splitlines()[0]}); it may have wanted more memory than there "
            "is, so lower data.workers or data.cloud_cache_bytes, then go on from the last save with --resume"
        ) from error


def packed(batch: DeviceBatch) -> bytes:
    """A batch as bytes, for `ForkingPickler.loads` in the same program."""
    stream = io.BytesIO()
    _Plain(stream, protocol=5).dump(batch)
    return stream.getvalue()


def processes_here() -> int:
    """How many processes of this training share the host."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def free_shared_memory() -> float:
    """Bytes; unlimited where the system has no such folder."""
    if not SHARED_MEMORY.is_dir():
        return float("inf")
    status = os.statvfs(SHARED_MEMORY)
    return status.f_bavail * status.f_frsize


def _begin(_: int) -> None:
    """A signal to the group is the main process's, which saves the run and ends its workers."""
    ignore_all()


def _unpacked(loaded: Iterator[DeviceBatch | bytes | KdError]) -> Iterator[DeviceBatch]:
    while True:
        try:
            batch = next(loaded)
        except StopIteration:
            return
        if isinstance(batch, KdError):
            del loaded  # ends the workers, which whoever keeps the error would keep alive
            raise batch
        yield ForkingPickler.loads(batch) if isinstance(batch, bytes) else batch
