"""Batch norms of a frozen backbone part: their statistics are part of what is kept."""

from torch import nn


class KeepsFrozenNorms(nn.Module):
    """A network in which batch norms whose weights are not trained stay in evaluation mode."""

    def train(self, mode: bool = True) -> "KeepsFrozenNorms":
        """As nn.Module, but for those norms."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
        return self
