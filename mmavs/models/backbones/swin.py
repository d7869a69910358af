"""Swin Transformer with fused window attention."""
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.models.backbones import SwinTransformer as MMSegSwinTransformer
from mmseg.models.backbones.swin import ShiftWindowMSA
from torch import Tensor

from mmavs.registry import MODELS
from mmavs.utils.exporting import cache_unless_recording, is_recording


@MODELS.register_module()
class SwinTransformer(MMSegSwinTransformer):
    """mmseg's ``SwinTransformer``, same arguments, parameters and outputs, without stored attention matrices.

    The matrices of a Swin-B at 384x384 take 165 MB for each frame in training, and reading and writing them takes a
    sixth of the time of inference. See docs/reference/benchmarks.md.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        for stage in self.stages:
            for block in stage.blocks:
                block.attn = FusedShiftWindowMSA(block.attn)


class FusedShiftWindowMSA(ShiftWindowMSA):
    """(Shifted) window attention through PyTorch's fused kernels, with the parameters of mmseg's module.

    Args:
        attn: Module of mmseg whose parts are reused. Dropout of attention weights is not supported.
    """

    def __init__(self, attn: ShiftWindowMSA) -> None:
        if attn.w_msa.attn_drop.p > 0:
            raise ValueError(f'SwinTransformer: attn_drop_rate is {attn.w_msa.attn_drop.p}, expected 0: use '
                             'mmseg.SwinTransformer for dropout of attention weights')
        BaseModule.__init__(self)
        self.window_size, self.shift_size = attn.window_size, attn.shift_size
        self.w_msa, self.drop = attn.w_msa, attn.drop

    def forward(self, query: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Attention output (B, H * W, C) of tokens (B, H * W, C)."""
        (height, width), shift = hw_shape, self.shift_size
        x = query.unflatten(1, (height, width))
        x = F.pad(x, (0, 0, 0, -width % self.window_size, 0, -height % self.window_size))
        padded_size = tuple(x.shape[1:3])
        mask = None
        if shift:
            x = x.roll((-shift, -shift), (1, 2))
            mask = shift_mask(padded_size, self.window_size, shift, x.device)
        window = self.window_size
        x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window)).transpose(2, 3)  # (B, rows, columns, w, w, C)
        grid = x.shape[1:3]
        windows = self._attend(x.flatten(3, 4).flatten(0, 2), mask)
        x = windows.unflatten(1, (window, window)).unflatten(0, (-1, *grid)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        if shift:
            x = x.roll((shift, shift), (1, 2))
        return self.drop(x[:, :height, :width].flatten(1, 2))

    def _attend(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """Attention within windows (B * windows, L, C), the windows of an image one after the other."""
        msa = self.w_msa
        q, k, v = msa.qkv(windows).unflatten(2, (3, msa.num_heads, -1)).permute(2, 0, 3, 1, 4)
        bias = msa.relative_position_bias_table[msa.relative_position_index].permute(2, 0, 1).to(q.dtype).contiguous()
        if mask is not None:
            mask = mask.to(q.dtype)
            # Treat the windows of an image as heads: masks differ between windows, but not between images.
            q, k, v = (x.unflatten(0, (-1, len(mask))).flatten(1, 2) for x in (q, k, v))
        if bias.is_cuda or is_recording() or not torch.is_grad_enabled():
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=_logit_bias(bias, mask), scale=msa.scale)
        else:
            out = _RecomputedAttention.apply(q, k, v, bias, mask, msa.scale)
        out = out.unflatten(1, (-1, msa.num_heads)).transpose(2, 3).flatten(0, 1).flatten(2)
        return msa.proj_drop(msa.proj(out))


@cache_unless_recording(maxsize=64)
def shift_mask(size: tuple[int, int], window: int, shift: int, device: torch.device) -> Tensor:
    """Mask that is added to the attention logits of shifted windows: -100 between pixels that are not neighbors.

    Args:
        size: (H, W) of the map, multiples of ``window``.
        window: Height and width of a window.
        shift: Pixels by which the map was rolled up and left.
        device: Device of the mask.

    Returns:
        (windows, 1, window^2, window^2) float32. It is cached and shared between callers: do not write into it.
    """

    def bands(length: int) -> Tensor:
        position = torch.arange(length, device=device)
        return (position >= length - window).int() + (position >= length - shift).int()

    height, width = size
    regions = 3 * bands(height)[:, None] + bands(width)
    regions = regions.view(height // window, window, width // window, window).transpose(1, 2)
    regions = regions.flatten(2).flatten(0, 1)[:, None]
    return torch.where(regions[..., None] != regions[..., None, :], -100., 0.)


def _logit_bias(bias: Tensor, mask: Tensor | None) -> Tensor:
    """Relative position bias (heads, L, L) and mask (windows, 1, L, L) as one bias of (1, heads or all, L, L)."""
    return bias[None] if mask is None else (bias + mask).flatten(0, 1)[None]


class _RecomputedAttention(torch.autograd.Function):
    """Fused attention whose backward pass recomputes the attention matrix.

    On the CPU PyTorch's fused kernel has no gradient for the bias; PyTorch would fall back to a kernel that stores the
    matrix.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, q: Tensor, k: Tensor, v: Tensor, bias: Tensor,
                mask: Tensor | None, scale: float) -> Tensor:
        ctx.save_for_backward(q, k, v, bias, mask)
        ctx.scale = scale
        return F.scaled_dot_product_attention(q, k, v, attn_mask=_logit_bias(bias, mask), scale=scale)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias, mask = ctx.saved_tensors
        q = q * ctx.scale
        weights = (q @ k.transpose(2, 3)).add_(_logit_bias(bias, mask)).softmax(3)
        grad_v = weights.transpose(2, 3) @ grad
        grad_logits = torch.ops.aten._softmax_backward_data(grad @ v.transpose(2, 3), weights, 3, weights.dtype)
        del weights
        grad_bias = grad_logits.view(-1, *bias.shape).sum(0)
        grad_q = (grad_logits @ k).mul_(ctx.scale)
        grad_k = grad_logits.transpose(2, 3) @ q
        return grad_q, grad_k, grad_v, grad_bias, None, None
