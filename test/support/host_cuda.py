"""The stand-in for the NVIDIA driver (host_cuda.c), compiled and opened."""

import ctypes
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
LAUNCH_FAILED = 719  # CUDA_ERROR_LAUNCH_FAILED


class HostCuda:
    """The library's path, and its counters and switches by name (see host_cuda.c)."""

    def __init__(self, folder: Path, compiler: str) -> None:
        self.path = folder / "libcuda.so.1"  # as the real one: programs find it by LD_LIBRARY_PATH
        command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", str(SOURCE), "-o", str(self.path)]
        subprocess.run(command, check=True)
        self._library = ctypes.CDLL(str(self.path))

    def __getitem__(self, name: str) -> int:
        return ctypes.c_int.in_dll(self._library, f"host_{name}").value

    def __setitem__(self, name: str, value: int) -> None:
        ctypes.c_int.in_dll(self._library, f"host_{name}").value = value
