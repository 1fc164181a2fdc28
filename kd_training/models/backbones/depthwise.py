"""Depthwise convolutions, whose gradients PyTorch is slow to find on a CPU."""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

MIN_COLUMNS = 16  # of a map whose gradient is found in parts; below that it does not pay


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that stays in float32 under CPU autocast.

    The backward pass of the bfloat16 kernels is up to 30 times slower. In float32 that of a 5x5 kernel's weights is
    twice as slow as in parts.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h / stride, w / stride), as nn.Conv2d; the result has the input's type."""
        if x.device.type != "cpu":
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            wide = x.to(self.weight.dtype)
            if self._in_parts(wide):
                return _WideKernel.apply(wide, self.weight, self.bias).to(x.dtype)
            return super().forward(wide).to(x.dtype)

    def _in_parts(self, x: Tensor) -> bool:
        """Whether the gradient of the weights will be wanted and is better found in parts."""
        if not (torch.is_grad_enabled() and self.weight.requires_grad) or torch.jit.is_tracing():
            return False
        return self.kernel_size == (5, 5) and self.stride == (1, 1) and x.shape[3] >= MIN_COLUMNS


class _WideKernel(torch.autograd.Function):
    """A depthwise convolution with a 5x5 kernel: oneDNN has fast gradients of weights for at most three columns."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x (N, C, h, w), weight (C, 1, 5, 5), bias (C,) or None -> (N, C, h, w)."""
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return functional.conv2d(x, weight, bias, padding=2, groups=weight.shape[0])

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """Gradient (N, C, h, w) -> those of x, weight and bias; the weight's by columns 1 to 3, then 0 and 4."""
        x, weight = ctx.saved_tensors
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = torch.nn.grad.conv2d_input(x.shape, weight, gradient, padding=2, groups=weight.shape[0])
        middle = _weight_gradient(x, gradient, columns=3, padding=1)
        first = _weight_gradient(x, functional.pad(gradient[..., 2:], (0, 2)), columns=1, padding=0)
        last = _weight_gradient(x, functional.pad(gradient[..., :-2], (2, 0)), columns=1, padding=0)
        of_weight = torch.cat([first, middle, last], dim=3)
        return of_x, of_weight, gradient.sum(dim=(0, 2, 3)) if ctx.biased else None


def _weight_gradient(x: Tensor, gradient: Tensor, *, columns: int, padding: int) -> Tensor:
    """(C, 1, 5, columns) of a depthwise convolution whose kernel is five rows high."""
    shape = (x.shape[1], 1, 5, columns)
    return torch.nn.grad.conv2d_weight(x, shape, gradient, padding=(2, padding), groups=x.shape[1])
