"""Audio in EASE: the enhancer of the audio, the queries that are made of it, and its fusion into the patches.

Symbols, as used below: t the projected audio of a frame, c the cluster centers, A the five audio tokens, a the
projected audio tokens, x the patches.
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmavs.models.layers import MultiheadAttention
from mmavs.utils.exporting import is_exporting
from mmavs.utils.precision import at_least_float32

#: Audio tokens of a frame, and centers of the clusters of patches.
NUM_TOKENS = 5
NUM_HEADS = 8


class ClusterAssignment(nn.Module):
    """Soft assignment of vectors to learned centers, ``softmax_k(x . c_k)``.

    Training adds Gumbel noise to the logits (Gumbel-softmax with temperature 1). The released code of EASE adds it in
    evaluation as well, therefore its scores differ from run to run.

    Args:
        num_centers: Centers k.
        channels: Channels C.
        noise_in_evaluation: Whether to add the noise in evaluation as well, as released.
    """

    def __init__(self, num_centers: int, channels: int, noise_in_evaluation: bool) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.randn(num_centers, channels))
        self.noise_in_evaluation = noise_in_evaluation

    def forward(self, x: Tensor) -> Tensor:
        """Assignment (..., k) of x (..., C); its sum over k is 1.

        Raises:
            ValueError: The noise is on, and the model is being exported.
        """
        # The noise needs float32: in half precision, samples of the exponential distribution are 0 too often.
        logits = at_least_float32(F.linear(x, self.centers))
        if self.training or self.noise_in_evaluation:
            if is_exporting():
                raise ValueError("EASEHead: assignment='gumbel' adds random noise, with which an exported model cannot "
                                 'be compared: set decode_head.assignment=softmax')
            logits = logits - torch.empty_like(logits).exponential_().log()
        return logits.softmax(-1)


class AudioEnhancer(nn.Module):
    """Five tokens of a frame from its audio embedding, by its differences to learned clusters (after DDESeg).

    1. The projected audio t is assigned to k clusters, ``g = softmax_k(t . c_k)``. The shares ``C_k = g_k t`` that are
       nearest to t choose five clusters.
    2. Each center changes t: ``e_i = GELU(W_1 (c_i - t))``, weighed per channel by the softmax over i of ``U_1 e_i``,
       and ``t_i = (1 + tanh(V_1 (t + e_i))) t``.
    3. Each share changes t_i: ``e'_i = GELU(W_2 (C_i - t_i))`` and the token is
       ``(1 + tanh(V_2 (t_i + e'_i))) t_i``.

    Step 3 has weights ``U_2`` in the released code too, but their softmax is over a single element: always 1.

    Args:
        audio_channels: Channels of an audio embedding.
        embed_dims: Channels C of t and of the tokens.
        num_clusters: Clusters k.
        noise_in_evaluation: See :class:`ClusterAssignment`.
    """

    def __init__(self, audio_channels: int, embed_dims: int, num_clusters: int, noise_in_evaluation: bool) -> None:
        super().__init__()
        self.audio_proj = nn.Linear(audio_channels, embed_dims)
        self.clusters = ClusterAssignment(num_clusters, embed_dims, noise_in_evaluation)
        self.edge1 = nn.Linear(embed_dims, embed_dims)  # W_1
        self.weight1 = nn.Linear(embed_dims, embed_dims, bias=False)  # U_1
        self.offset1 = nn.Linear(embed_dims, embed_dims)  # V_1
        self.edge2 = nn.Linear(embed_dims, embed_dims)  # W_2
        self.offset2 = nn.Linear(embed_dims, embed_dims)  # V_2
        for linear in (self.audio_proj, self.edge1, self.weight1, self.offset1, self.edge2, self.offset2):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def forward(self, audio: Tensor) -> Tensor:
        """Audio tokens A (N, 5, C) from audio tokens of the backbone (N, tokens, C_a), of which the mean is taken."""
        t = self.audio_proj(audio.mean(1)).unsqueeze(1)  # (N, 1, C)
        shares = self.clusters(t).transpose(1, 2) * t  # (N, k, C)
        # Not the largest g: of assignments that saturate, the distances are equal, as in the released code.
        chosen = (t - shares).norm(dim=2).topk(NUM_TOKENS, largest=False).indices  # (N, 5)
        centers = self.clusters.centers[chosen]  # (N, 5, C)
        shares = shares.gather(1, chosen.unsqueeze(2).expand_as(centers))
        # Differences to the centers
        edges = F.gelu(self.edge1(centers - t))
        edges = edges * self.weight1(edges).softmax(1)
        tokens = (1 + self.offset1(t + edges).tanh()) * t  # (N, 5, C)
        # Differences to the shares
        edges = F.gelu(self.edge2(shares - tokens))
        return (1 + self.offset2(tokens + edges).tanh()) * tokens


class QueryLayer(nn.Module):
    """Self-attention, attention to the audio tokens, feed-forward network; each with residual and LayerNorm."""

    def __init__(self, embed_dims: int, ffn_dims: int) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(embed_dims, NUM_HEADS, bias=False)
        self.norm1 = nn.LayerNorm(embed_dims)
        self.cross_attn = MultiheadAttention(embed_dims, NUM_HEADS, bias=False)
        self.norm2 = nn.LayerNorm(embed_dims)
        self.ffn = nn.Sequential(nn.Linear(embed_dims, ffn_dims), nn.GELU(), nn.Linear(ffn_dims, embed_dims))
        self.norm3 = nn.LayerNorm(embed_dims)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Queries (N, Q, C) from queries (N, Q, C), or (1, Q, C) for all frames, and audio tokens (N, 5, C)."""
        x = self.norm1(queries + self.self_attn(queries, queries, queries))
        x = self.norm2(x + self.cross_attn(x, tokens, tokens))
        return self.norm3(x + self.ffn(x))


class AudioQueries(nn.Module):
    """Queries of a frame: learned ones that attend to its audio tokens.

    Args:
        num_queries: Queries Q.
        audio_dims: Channels of the audio tokens.
        embed_dims: Channels d of the queries.
        num_layers: Layers.
        ffn_dims: Hidden channels of their feed-forward networks.
    """

    def __init__(self, num_queries: int, audio_dims: int, embed_dims: int, num_layers: int, ffn_dims: int) -> None:
        super().__init__()
        self.query = nn.Embedding(num_queries, audio_dims)
        self.layers = nn.ModuleList(QueryLayer(audio_dims, ffn_dims) for _ in range(num_layers))
        self.output_proj = nn.Linear(audio_dims, embed_dims)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, tokens: Tensor) -> Tensor:
        """Queries (N, Q, d) from audio tokens (N, 5, C)."""
        queries = self.query.weight.unsqueeze(0)  # up to their first attention to the audio, those of all frames
        for layer in self.layers:
            queries = layer(queries, tokens)
        return self.output_proj(queries)


class AudioFuser(nn.Module):
    """Add an audio-gated residual to the patches of a frame.

    1. The patches are replaced by their cluster centers, ``x^ = r c`` with ``r = softmax_5(x . c)``.
    2. The projected audio tokens a attend to x^, which gives h.
    3. One audio vector, the sum of a weighted by the softmax of a projection of h.
    4. Every patch attends to this vector, with a sigmoid in place of the softmax, because there is one key: ``x <- x +
       sigmoid(q(x) . k(a)) v(a)`` in each head.

    The products with the few centers and the one key come first, which gives the same result without projecting every
    patch.

    Args:
        audio_dims: Channels of the audio tokens.
        embed_dims: Channels d of the patches. With as many audio channels the tokens are not projected (PVTv2).
        noise_in_evaluation: See :class:`ClusterAssignment`.
    """

    def __init__(self, audio_dims: int, embed_dims: int, noise_in_evaluation: bool) -> None:
        super().__init__()
        self.clusters = ClusterAssignment(NUM_TOKENS, embed_dims, noise_in_evaluation)
        self.audio_proj = nn.Identity()
        if audio_dims != embed_dims:
            self.audio_proj = nn.Linear(audio_dims, embed_dims, bias=False)
        self.audio_attn = AttentionProjections(embed_dims)
        self.weight = nn.Linear(embed_dims, 1)
        self.patch_attn = AttentionProjections(embed_dims)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Patches (N, P, d) from patches (N, P, d) and audio tokens (N, 5, C)."""
        audio = self.audio_proj(tokens)  # (N, 5, d)
        # Image clusters
        assignment = self.clusters(x).unsqueeze(1)  # r (N, 1, P, 5)
        # Audio attends to the clustered patches
        attn = self.audio_attn
        q, k, v = attn.q_proj(audio), attn.k_proj(self.clusters.centers), attn.v_proj(self.clusters.centers)
        q, k, v = (_split_heads(y) for y in (q, k, v))  # (N, heads, 5, d / heads), (heads, 5, d / heads) twice
        logits = (q * q.shape[-1]**-0.5 @ k.transpose(-2, -1)) @ assignment.transpose(2, 3)  # (N, heads, 5, P)
        context = (logits.softmax(-1) @ assignment @ v).transpose(1, 2).flatten(2)  # h (N, 5, d)
        # One audio vector
        vector = (self.weight(context).softmax(1) * audio).sum(1)  # (N, d)
        # Patches attend to it
        attn = self.patch_attn
        k = attn.k_proj(vector).unflatten(1, (NUM_HEADS, -1))  # (N, heads, d / heads)
        key = torch.einsum('nhc,hcd->ndh', k, attn.q_proj.weight.unflatten(0, (NUM_HEADS, -1)))
        gate = (x @ key * k.shape[2]**-0.5).sigmoid()  # (N, P, heads)
        value = attn.v_proj(vector).unflatten(1, (NUM_HEADS, -1)).unsqueeze(1)  # (N, 1, heads, d / heads)
        return x + (gate.unsqueeze(3) * value).flatten(2)


class AttentionProjections(nn.Module):
    """The three projections of an attention without biases and without an output projection."""

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(embed_dims, embed_dims, bias=False)
        self.k_proj = nn.Linear(embed_dims, embed_dims, bias=False)
        self.v_proj = nn.Linear(embed_dims, embed_dims, bias=False)


def _split_heads(x: Tensor) -> Tensor:
    """Heads (..., heads, length, C / heads) of x (..., length, C)."""
    return x.unflatten(-1, (NUM_HEADS, -1)).transpose(-3, -2)
