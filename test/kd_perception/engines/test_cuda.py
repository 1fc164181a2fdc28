"""The ctypes prototypes against a library with cuda.h's; the life of memory; the errors' sentences."""

import gc
import threading

import numpy as np
import pytest
from support.host_cuda import LAUNCH_FAILED, HostCuda

from kd_perception.engines.cuda import Cuda, Gpu, MemoryPool
from kd_perception.errors import EngineError


@pytest.fixture
def cuda(host_cuda: HostCuda) -> Cuda:
    return Cuda(str(host_cuda.path))


def test_the_gpu_is_described(cuda: Cuda):
    assert cuda.gpu == Gpu("Host GPU", (8, 6), 14)


def test_what_goes_up_comes_down(cuda: Cuda):
    values = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    host = cuda.pinned_array(values.shape, values.dtype)
    assert host.shape == values.shape and host.dtype == values.dtype and not host.any()
    host[...] = values
    memory = cuda.device_memory(host.nbytes)
    cuda.upload(memory, host)
    result = np.empty_like(values)
    cuda.download(result, memory)
    cuda.synchronize()
    np.testing.assert_array_equal(result, values)


def test_copies_that_do_not_fit_are_refused(cuda: Cuda):
    memory = cuda.device_memory(16)
    with pytest.raises(ValueError, match="array of 20 bytes to or from 16"):
        cuda.upload(memory, np.zeros(5, np.float32))
    with pytest.raises(ValueError, match="cannot copy"):
        cuda.download(np.zeros((2, 2), np.float32).T[:1], memory)


def test_memory_is_freed_with_its_object_by_any_thread(cuda: Cuda, host_cuda: HostCuda):
    before = host_cuda["device_allocations"], host_cuda["pinned_allocations"]
    dropped = [cuda.device_memory(100), cuda.pinned_array((10,), np.dtype(np.int32))[2:]]
    assert (host_cuda["device_allocations"], host_cuda["pinned_allocations"]) == (before[0] + 1, before[1] + 1)
    thread = threading.Thread(target=dropped.clear)  # a thread without a context of its own
    thread.start()
    thread.join()
    gc.collect()
    assert (host_cuda["device_allocations"], host_cuda["pinned_allocations"]) == before


def test_a_thread_needs_the_context(cuda: Cuda):
    problems: list[str] = []

    def work() -> None:
        try:
            cuda.device_memory(8)
        except EngineError as error:
            problems.append(str(error))
        cuda.make_current()
        cuda.device_memory(8)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert problems == ["cuMemAlloc_v2: invalid device context"]


def test_the_pool_lends_again_what_came_back(cuda: Cuda, host_cuda: HostCuda):
    class User:
        pass

    before = host_cuda["device_allocations"]
    pool = MemoryPool(cuda, 64)
    users = [User() for _ in range(3)]
    addresses = [pool.lend(user).address for user in users]
    assert len(set(addresses)) == 3 and host_cuda["device_allocations"] == before + 3
    del users[1]
    gc.collect()
    later = User()
    assert pool.lend(later).address == addresses[1]
    assert host_cuda["device_allocations"] == before + 3
    del pool, users, later
    gc.collect()
    assert host_cuda["device_allocations"] == before


def test_no_driver_no_gpu_and_faults_are_sentences(host_cuda: HostCuda, cuda: Cuda):
    with pytest.raises(EngineError, match=r"the NVIDIA driver's library libnone\.so\.1 cannot be loaded"):
        Cuda("libnone.so.1")
    host_cuda["devices"] = 0
    with pytest.raises(EngineError, match="shows no GPU"):
        Cuda(str(host_cuda.path))
    host_cuda["failure"] = LAUNCH_FAILED
    with pytest.raises(EngineError, match="cuStreamSynchronize: unspecified launch failure"):
        cuda.synchronize()
