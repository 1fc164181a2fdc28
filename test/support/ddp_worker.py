"""One process of two that train together: `python -m support.ddp_worker OUT` under torchrun's variables.

For every OUT/NAME.yaml writes the gradients of one step, batch norm frozen, that the process has, and what it logs.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kd_training.config.experiment import AnyConfig, load_config
from kd_training.loop.forward_backward import add_gradients
from kd_training.loop.train import load_batches, open_run


def one_step(config: AnyConfig, out: Path) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Gradients by name, and what the task logs, of the first step of a run."""
    run = open_run(config, out, None, resume=False)
    run.wrapped.train()
    for module in run.task.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    add_gradients(run.fabric, run.wrapped, load_batches(run, 0), run.first, run.plan.micro_batches)
    gradients = {name: value.grad for name, value in run.task.named_parameters() if value.grad is not None}
    return gradients, {name: float(value) for name, value in run.task.figures().items()}


def main() -> None:
    """One step of each configuration."""
    out = Path(sys.argv[1])
    torch.set_num_threads(1)
    for config in sorted(out.glob("*.yaml")):
        gradients, figures = one_step(load_config(config), out)
        name = f"{config.stem}{torch.distributed.get_rank()}"
        save_file({key: value.contiguous() for key, value in gradients.items()}, out / f"{name}.safetensors")
        (out / f"{name}.json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
