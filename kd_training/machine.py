"""What computes here, in words that results keep."""

import os
import platform
from pathlib import Path

import torch


def device() -> str:
    """Cores and family of this machine's CPU, from the kernel's description where there is one, and its GPU."""
    name = platform.processor() or platform.machine()
    try:
        entries = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
        facts = {key.strip(): value.strip() for key, value in reversed(entries)}
        name = facts.get("model name", name)
        flags = facts.get("flags", "").split()
        extras = [label for flag, label in (("avx512f", "AVX-512"), ("avx512_bf16", "BF16")) if flag in flags]
        name += f" (family {facts['cpu family']}, model {facts['model']}{''.join(f', {label}' for label in extras)})"
    except (OSError, KeyError):
        pass  # not Linux on x86: the platform's own name has to do
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{len(os.sched_getaffinity(0))} cores of {name}{gpu}"
