"""What an engine needs of CUDA: device memory, pinned host memory, one stream and its recorded work (a CUDA graph),
through the driver's own library.

ctypes on the driver: it is on every machine that has the GPU, its functions are stable across CUDA versions, and two
dozen of them do; a CUDA package would have to match the CUDA version that TensorRT was built for.
The context is the device's primary one, which the CUDA runtime inside TensorRT uses too.
"""

import ctypes
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from kd_perception.errors import EngineError

DRIVER = "libcuda.so.1"
CAPABILITY_MAJOR, CAPABILITY_MINOR, MULTIPROCESSORS = 75, 76, 16  # CUdevice_attribute
NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: does not wait for the default stream
RELAXED = 2  # CU_STREAM_CAPTURE_MODE_RELAXED: other threads go on to use CUDA while this one records
NAME_LENGTH = 256

_int, _size, _pointer, _address = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_uint64
# Prototypes as in cuda.h: CUdevice is int, CUdeviceptr is a 64-bit number, contexts and streams are pointers.
PROTOTYPES = {
    "cuInit": (ctypes.c_uint,),
    "cuGetErrorString": (_int, ctypes.POINTER(ctypes.c_char_p)),
    "cuDeviceGetCount": (ctypes.POINTER(_int),),
    "cuDeviceGet": (ctypes.POINTER(_int), _int),
    "cuDeviceGetName": (ctypes.c_char_p, _int, _int),
    "cuDeviceGetAttribute": (ctypes.POINTER(_int), _int, _int),
    "cuDevicePrimaryCtxRetain": (ctypes.POINTER(_pointer), _int),
    "cuCtxSetCurrent": (_pointer,),
    "cuMemAlloc_v2": (ctypes.POINTER(_address), _size),
    "cuMemFree_v2": (_address,),
    "cuMemAllocHost_v2": (ctypes.POINTER(_pointer), _size),
    "cuMemFreeHost": (_pointer,),
    "cuMemcpyHtoDAsync_v2": (_address, _pointer, _size, _pointer),
    "cuMemcpyDtoHAsync_v2": (_pointer, _address, _size, _pointer),
    "cuMemcpyDtoDAsync_v2": (_address, _address, _size, _pointer),
    "cuStreamCreate": (ctypes.POINTER(_pointer), ctypes.c_uint),
    "cuStreamDestroy_v2": (_pointer,),
    "cuStreamSynchronize": (_pointer,),
    "cuStreamBeginCapture_v2": (_pointer, _int),
    "cuStreamEndCapture": (_pointer, ctypes.POINTER(_pointer)),
    "cuGraphInstantiateWithFlags": (ctypes.POINTER(_pointer), _pointer, ctypes.c_ulonglong),
    "cuGraphLaunch": (_pointer, _pointer),
    "cuGraphExecDestroy": (_pointer,),
    "cuGraphDestroy": (_pointer,),
}


@dataclass(frozen=True)
class Gpu:
    """A GPU as an engine built for it must know it; Jetson modules share a name and differ in multiprocessors."""

    name: str
    capability: tuple[int, int]
    multiprocessors: int


class Cuda:
    """The first visible GPU (CUDA_VISIBLE_DEVICES chooses), its primary context and one stream.

    Usable from any thread, by one at a time: `make_current` first.
    """

    def __init__(self, library: str = DRIVER) -> None:
        """Load the driver's library; raises EngineError, beginning with the reason, where no GPU can be used."""
        try:
            self._library = ctypes.CDLL(library)
            for name, arguments in PROTOTYPES.items():
                function = getattr(self._library, name)
                function.argtypes, function.restype = arguments, _int
        except (OSError, AttributeError) as error:
            raise EngineError(f"the NVIDIA driver's library {library} cannot be loaded ({error})") from error
        self._call("cuInit", 0)
        count, device = _int(), _int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        if count.value == 0:
            raise EngineError("the NVIDIA driver shows no GPU (is CUDA_VISIBLE_DEVICES empty?)")
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self.gpu = self._describe(device.value)
        self._context = _pointer()  # retained for the life of the process, as TensorRT's
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device.value)
        self.make_current()
        stream = _pointer()
        self._call("cuStreamCreate", ctypes.byref(stream), NON_BLOCKING)
        self.stream: int = stream.value or 0
        weakref.finalize(self, self._library.cuStreamDestroy_v2, self.stream)

    def make_current(self) -> None:
        """Make the context the calling thread's; call it before anything else there."""
        self._call("cuCtxSetCurrent", self._context)

    def device_memory(self, size: int) -> "DeviceMemory":
        """`size` bytes on the device, freed with the object."""
        address = _address()
        self._call("cuMemAlloc_v2", ctypes.byref(address), max(size, 1))
        return DeviceMemory(address.value, size, partial(self._free, "cuMemFree_v2"))

    def pinned_array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """A zeroed array in page-locked host memory, which copies to and from the device without a detour."""
        dtype = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        address = _pointer()
        self._call("cuMemAllocHost_v2", ctypes.byref(address), max(size, 1))
        memory = (ctypes.c_char * size).from_address(address.value)
        weakref.finalize(memory, self._free, "cuMemFreeHost", address.value)  # lives as long as any array on it
        array = np.frombuffer(memory, dtype).reshape(shape)
        array[...] = 0
        return array

    def upload(self, target: "DeviceMemory", source: np.ndarray) -> None:
        """Begin to copy a contiguous array to the device; ordered within the stream."""
        self._check_size(target, source)
        self._call("cuMemcpyHtoDAsync_v2", target.address, source.ctypes.data, source.nbytes, self.stream)

    def download(self, target: np.ndarray, source: "DeviceMemory") -> None:
        """Begin to copy from the device into a contiguous array; done after `synchronize`."""
        self._check_size(source, target)
        self._call("cuMemcpyDtoHAsync_v2", target.ctypes.data, source.address, target.nbytes, self.stream)

    def copy(self, target: "DeviceMemory", source: "DeviceMemory") -> None:
        """Begin to copy all of `source` on the device; ordered within the stream."""
        if source.size > target.size:
            raise ValueError(f"cannot copy {source.size} bytes into {target.size} on the device")
        self._call("cuMemcpyDtoDAsync_v2", target.address, source.address, source.size, self.stream)

    def recorded(self, work: Callable[[], None]) -> "RecordedWork":
        """What `work` puts into the stream, as a CUDA graph: recorded, not run. The stream must have nothing to do.

        Raises what `work` raises, and EngineError if something in it cannot be recorded; the stream is usable again.
        """
        graph, executable = _pointer(), _pointer()
        self._call("cuStreamBeginCapture_v2", self.stream, RELAXED)
        try:
            work()
        except BaseException:
            if self._library.cuStreamEndCapture(self.stream, ctypes.byref(graph)) == 0 and graph.value:
                self._library.cuGraphDestroy(graph)
            raise
        self._call("cuStreamEndCapture", self.stream, ctypes.byref(graph))
        try:
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, 0)
        finally:
            self._library.cuGraphDestroy(graph)
        return RecordedWork(executable.value or 0, self._launch, partial(self._free, "cuGraphExecDestroy"))

    def _launch(self, executable: int) -> None:
        self._call("cuGraphLaunch", executable, self.stream)

    def synchronize(self) -> None:
        """Wait for everything in the stream; raises EngineError if any of it failed."""
        self._call("cuStreamSynchronize", self.stream)

    def _check_size(self, memory: "DeviceMemory", array: np.ndarray) -> None:
        if array.nbytes > memory.size or not array.flags.c_contiguous:
            raise ValueError(f"cannot copy an array of {array.nbytes} bytes to or from {memory.size} on the device")

    def _describe(self, device: int) -> Gpu:
        name = ctypes.create_string_buffer(NAME_LENGTH)
        self._call("cuDeviceGetName", name, NAME_LENGTH, device)

        def attribute(number: int) -> int:
            value = _int()
            self._call("cuDeviceGetAttribute", ctypes.byref(value), number, device)
            return value.value

        capability = attribute(CAPABILITY_MAJOR), attribute(CAPABILITY_MINOR)
        return Gpu(name.value.decode(errors="replace"), capability, attribute(MULTIPROCESSORS))

    def _free(self, function: str, address: int) -> None:
        """Free memory from whatever thread drops it; a device that failed has nothing left to free."""
        self._library.cuCtxSetCurrent(self._context)
        getattr(self._library, function)(address)

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._library, function)(*arguments)
        if code != 0:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(code, ctypes.byref(text))
            raise EngineError(f"{function}: {text.value.decode() if text.value else f'CUDA error {code}'}")


class DeviceMemory:
    """Memory on the device: its address, its size in bytes."""

    def __init__(self, address: int, size: int, free: Callable[[int], None]) -> None:
        self.address = address
        self.size = size
        weakref.finalize(self, free, address)


class RecordedWork:
    """Work of a stream that is launched as one (a CUDA graph): on the memory that it was recorded with."""

    def __init__(self, executable: int, launch: Callable[[int], None], free: Callable[[int], None]) -> None:
        self.launch = partial(launch, executable)
        weakref.finalize(self, free, executable)


class MemoryPool:
    """Device memory of one size that comes back when nobody uses it: allocating in every frame would stop the GPU."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        self._cuda = cuda
        self._size = size
        self._unused: deque[DeviceMemory] = deque()

    def lend(self, user: object) -> DeviceMemory:
        """Memory that is `user`'s as long as that object lives."""
        try:
            memory = self._unused.pop()
        except IndexError:
            memory = self._cuda.device_memory(self._size)
        weakref.finalize(user, self._unused.append, memory)
        return memory
