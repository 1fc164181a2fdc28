"""One of several processes that train the toy of support.blending together, each on its part of every batch."""

import sys

import torch
from torch import Tensor, distributed

from kd_training.config.distill import BlendingConfig, BlendingMethod
from kd_training.distill.blending import build_blending
from support.blending import TOY_TERMS, Toy, train


def mean(tensor: Tensor) -> Tensor:
    """Over the processes."""
    tensor = tensor.clone()
    distributed.all_reduce(tensor)
    return tensor / distributed.get_world_size()


def main(folder: str, rank: int, processes: int, steps: int) -> None:
    """Rank 0 writes `folder`/result.pt: per method the parameters, and the weights of the task and of the terms."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=processes)
    share, results = 8 // processes, {}
    for method in BlendingMethod:
        blending = build_blending(BlendingConfig(method=method, refresh=3), TOY_TERMS)
        part = slice(rank * share, (rank + 1) * share)
        parameters, weights = train(Toy({}), blending, steps, all_reduce=mean, part=part)
        results[method.value] = (parameters, [weights.task, *weights.terms.values()])
    if rank == 0:
        torch.save(results, f"{folder}/result.pt")
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:]))
