"""A convolution and the ReLU6 behind it in one pass, on a CPU.

PyTorch writes the convolution's map and then clamps it in place, which takes longer than the convolution in bfloat16.
oneDNN clamps what it has just computed, with the same values. Depthwise convolutions stay in float32 under autocast
where they learn.
"""

from itertools import zip_longest
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from kd_training.models.backbones.depthwise import depthwise_gradients, gradients

HIGHEST = 6.0  # of ReLU6


class RectifiedSequential(nn.Sequential):
    """Layers in order; a convolution takes the ReLU6 behind it along where that is possible."""

    def forward(self, x: Tensor) -> Tensor:
        """As nn.Sequential."""
        taken = False
        for layer, following in zip_longest(self, list(self)[1:]):
            if taken:  # this ReLU6 is computed
                taken = False
                continue
            taken = isinstance(following, nn.ReLU6) and _can_take(layer, x)
            x = _rectified(layer, x) if taken else layer(x)
        return x


def _can_take(layer: nn.Module, x: Tensor) -> bool:
    """Whether a layer computes ReLU6 along. An export traces the plain layers."""
    if not isinstance(layer, nn.Conv2d) or x.device.type != "cpu" or torch.jit.is_tracing():
        return False
    side = layer.kernel_size[0]
    plain = layer.groups in {1, layer.in_channels} and layer.padding == (side // 2, side // 2)
    if not plain or layer.dilation != (1, 1) or not torch.backends.mkldnn.is_available():
        return False
    kind = _type_of(x)
    return kind == torch.float32 or (kind == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _type_of(x: Tensor) -> torch.dtype:
    """What a convolution of x computes in."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _rectified(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """ReLU6 of what the layer makes of x."""
    x = x.to(_type_of(x))
    learns = torch.is_grad_enabled() and (x.requires_grad or layer.weight.requires_grad)
    kind = torch.float32 if layer.groups > 1 and learns else x.dtype
    return _RectifiedConvolution.apply(x, layer.weight, layer.bias, _Manner(layer.stride[0], kind))


class _Manner(NamedTuple):
    """A convolution's stride, and what it computes in."""

    stride: int
    kind: torch.dtype


class _RectifiedConvolution(torch.autograd.Function):
    """Gives x's type. Weights come in their own."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, manner: _Manner) -> Tensor:
        """x (N, C, h, w), weight (D, C or 1, k, k), bias (D,) or None -> (N, D, h / stride, w / stride)."""
        padding, groups = weight.shape[2] // 2, x.shape[1] // weight.shape[1]
        stride, kind = manner
        y = torch.ops.mkldnn._convolution_pointwise(
            x.to(kind), weight.to(kind), None if bias is None else bias.to(kind), [padding] * 2, [stride] * 2, [1, 1],
            groups, "hardtanh", [0.0, HIGHEST], "",
        ).to(x.dtype)  # fmt: skip
        ctx.save_for_backward(x, weight, y)
        ctx.stride = stride
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of the answer -> those of x, weight and bias."""
        x, weight, y = ctx.saved_tensors
        of_map = torch.ops.aten.hardtanh_backward(gradient, y, 0.0, HIGHEST)
        wanted = list(ctx.needs_input_grad[:3])
        if weight.shape[1] < x.shape[1]:
            found = depthwise_gradients(x, weight, of_map, ctx.stride, wanted)
        else:
            found = gradients(x, weight.to(x.dtype), of_map, (ctx.stride, ctx.stride), wanted)
        own = (x.dtype, weight.dtype, weight.dtype)
        return *(None if part is None else part.to(kind) for part, kind in zip(found, own, strict=True)), None
