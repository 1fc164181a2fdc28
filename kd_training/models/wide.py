"""Where mixed precision would lose metres, or memory: layers over lists of points stay in float32."""

import torch


def wide_where(device: torch.device) -> torch.autocast:
    """A context without autocast on that device.

    bfloat16 has eight bits: 50 m become 50 m +- 0.1. On a CPU oneDNN also keeps what it compiles for each length of a
    bfloat16 product, and lists of points never have the same length twice: a training would grow by gigabytes.
    """
    return torch.autocast(device.type, enabled=False)
