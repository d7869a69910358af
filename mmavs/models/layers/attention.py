"""Multi-head attention through PyTorch's fused kernels."""
import torch.nn.functional as F
from torch import Tensor, nn

from mmavs.utils.exporting import is_exporting


class MultiheadAttention(nn.MultiheadAttention):
    """``nn.MultiheadAttention`` (same parameters, batch first) that stores the attention matrix only on request.

    The mask is one boolean map for all heads, broadcast inside the kernel, whereas ``nn.MultiheadAttention`` expects it
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
            query: (N, Q, C), or (1, Q, C) for queries that all N share.
            key: (N, L, C), or (1, L, C) for keys that all N share.
            value: Like ``key``.
            attend: Bool (N, 1, Q, L), True where a query may attend; None to attend everywhere.
        """
        q, k, v = self._project(query, key, value)
        # The kernels need equal sizes; an export broadcasts.
        if not is_exporting():
            num = max(q.shape[0], k.shape[0])
            q, k, v = (x.expand(num, -1, -1, -1) for x in (q, k, v))
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=attend, dropout_p=self.dropout if self.training else 0.)
        return self._merge_heads(out)

    def with_weights(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Attention output (N, Q, C), and the mean over heads of the weights after dropout (N, Q, L).

        Stores the attention matrices, heads * Q * L values for each of the N.
        """
        q, k, v = self._project(query, key, value)
        weights = (q * q.shape[3]**-0.5 @ k.transpose(2, 3)).softmax(3)
        weights = F.dropout(weights, self.dropout, self.training)
        return self._merge_heads(weights @ v), weights.mean(1)

    def _project(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values (N, heads, length, C / heads)."""
        biases = (None, ) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        return tuple(
            F.linear(x, weight, bias).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for x, weight, bias in zip(inputs, self.in_proj_weight.chunk(3), biases))

    def _merge_heads(self, x: Tensor) -> Tensor:
        return self.out_proj(x.transpose(1, 2).flatten(2))
