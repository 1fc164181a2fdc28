"""Batch norms of a frozen backbone part: freezing keeps their statistics, too."""

from torch import nn


class KeepsFrozenNorms(nn.Module):
    """A network whose frozen batch norms stay in evaluation mode."""

    def train(self, mode: bool = True) -> "KeepsFrozenNorms":  # noqa: FBT001, FBT002 - nn.Module's own signature
        """As nn.Module.train, except for those norms."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
        return self
