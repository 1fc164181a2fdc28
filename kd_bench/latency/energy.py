"""Joules of the processor's package by RAPL, of a GPU by NVML; where a machine has neither, processor seconds."""

import ctypes
from contextlib import suppress
from pathlib import Path

RAPL = Path("/sys/class/powercap")
NVML = "libnvidia-ml.so.1"


class EnergyMeter:
    """Counts from its making on. source: what is counted, "RAPL", "NVML" or both joined by +; '' for none."""

    def __init__(self, rapl: Path = RAPL, nvml: str = NVML) -> None:
        self._packages = [zone / "energy_uj" for zone in sorted(rapl.glob("intel-rapl:*")) if ":" not in zone.name[11:]]
        self._packages = [path for path in self._packages if _microjoules(path) is not None]
        self._gpu = _open_gpu(nvml)
        self.source = "+".join(name for name, there in (("RAPL", self._packages), ("NVML", self._gpu)) if there)
        self._begin_j = self._now_j()

    def joules(self) -> float:
        """Since the meter was made; 0 without a source."""
        return self._now_j() - self._begin_j

    def _now_j(self) -> float:
        total = sum(_microjoules(path) or 0 for path in self._packages) / 1e6
        if self._gpu is not None:
            library, device = self._gpu
            count = ctypes.c_ulonglong()
            library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(count))
            total += count.value / 1e3
        return total


def _microjoules(path: Path) -> int | None:
    """A counter's value; None where it is not there, or not for us to read."""
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def _open_gpu(library: str) -> tuple[ctypes.CDLL, ctypes.c_void_p] | None:
    """NVML and the first GPU's handle; None without one that counts its energy."""
    try:
        nvml = ctypes.CDLL(library)
    except OSError:
        return None
    device, count = ctypes.c_void_p(), ctypes.c_ulonglong()
    calls = (
        lambda: nvml.nvmlInit_v2(),
        lambda: nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)),
        lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(count)),
    )
    return (nvml, device) if all(call() == 0 for call in calls) else None
