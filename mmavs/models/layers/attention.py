"""Multi-head attention through PyTorch's fused kernels."""
import torch.nn.functional as F
from torch import Tensor, nn


class MultiheadAttention(nn.MultiheadAttention):
    """``nn.MultiheadAttention`` (same parameters, batch first) that never forms the attention matrix.

    The mask is one boolean map for all heads, broadcast inside the kernel, where ``nn.MultiheadAttention`` wants it
    repeated for every head. Weights are Xavier-uniform (the packed input projection as one matrix), biases 0.

    Args:
        embed_dims: Channels C of queries, keys, values and output.
        num_heads: Number of heads; divides ``embed_dims``.
        dropout: Probability of dropping an attention weight in training.
        bias: Whether the four projections have biases.
    """

    def __init__(self, embed_dims: int, num_heads: int, dropout: float = 0., bias: bool = True) -> None:
        super().__init__(embed_dims, num_heads, dropout=dropout, bias=bias, batch_first=True)
        nn.init.xavier_uniform_(self.out_proj.weight)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, attend: Tensor | None = None) -> Tensor:
        """Attention output (N, Q, C), after the output projection.

        Args:
            query: (N, Q, C).
            key: (N, L, C), or (1, L, C) for keys that all N share.
            value: Like ``key``.
            attend: Bool (N, 1, Q, L), True where a query may attend; None for everywhere.
        """
        biases = (None, ) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        q, k, v = (
            self._split_heads(F.linear(x, weight, bias))
            for x, weight, bias in zip((query, key, value), self.in_proj_weight.chunk(3), biases))
        out = F.scaled_dot_product_attention(
            q,
            k.expand(len(q), -1, -1, -1),
            v.expand(len(q), -1, -1, -1),
            attn_mask=attend,
            dropout_p=self.dropout if self.training else 0.)
        return self.out_proj(out.transpose(1, 2).flatten(2))

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
