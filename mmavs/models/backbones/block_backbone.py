"""Base class of the backbones that hand out their last blocks: to heads whose queries ride in them."""
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from mmavs.models.layers import run_checkpointed
from mmavs.structures import BlockFeatures


class BlockBackbone(BaseModule):
    """Transformer that runs its first blocks and hands out the others, see :class:`BlockFeatures`.

    A subclass sets the attributes below and implements :meth:`embed`, :meth:`run_block` and :meth:`norm_tokens`. A
    backbone of your own need not inherit: a head needs only the :class:`BlockFeatures` that :meth:`forward` returns.

    Args:
        num_head_blocks: Number of last blocks that the head runs.
        init_cfg: Initialization config of MMEngine.
        with_cp: Gradient checkpointing: whether the backward pass computes each block a second time instead of keeping
            its activations, also the blocks that the head runs. It saves memory and takes time.

    Attributes:
        embed_dims: Channels C of a token.
        num_blocks: Number L of blocks.
        num_embedding_blocks: Number of first blocks that :meth:`embed` runs, which no head can.
    """
    embed_dims: int
    num_blocks: int
    num_embedding_blocks: int = 0

    def __init__(self, num_head_blocks: int, init_cfg: dict | None = None, with_cp: bool = False) -> None:
        super().__init__(init_cfg)
        self.num_head_blocks = num_head_blocks
        self.with_cp = with_cp

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int], Any]:
        """Tokens (N, prefix + h * w, C) of normalized frames (N, 3, H, W), the patches last; their (h, w); and anything
        that the blocks need beside the tokens.

        Raises:
            ValueError: The frames cannot be divided into patches.
        """
        raise NotImplementedError

    def run_block(self, index: int, x: Tensor, context: Any, attend: Tensor | None) -> Tensor:
        """Tokens (N, L, C) after block ``index``; ``context`` is that of :meth:`embed`, see :class:`BlockFeatures`."""
        raise NotImplementedError

    def norm_tokens(self, x: Tensor) -> Tensor:
        """Tokens (N, L, C) after the norm that follows the last block."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> BlockFeatures:
        """Tokens of normalized frames (N, 3, H, W) before the last ``num_head_blocks`` blocks, and these blocks.

        Raises:
            ValueError: The backbone has fewer blocks, or the frames cannot be divided into patches.
        """
        first = self.num_blocks - self.num_head_blocks
        if not self.num_embedding_blocks <= first < self.num_blocks:
            raise ValueError(f'{type(self).__name__}: num_head_blocks is {self.num_head_blocks}, expected 1 to '
                             f'{self.num_blocks - self.num_embedding_blocks}, blocks at the stride of the last one')
        tokens, grid, context = self.embed(x)
        for index in range(self.num_embedding_blocks, first):
            tokens = self._run(index, tokens, context, None)
        return BlockFeatures(
            tokens, grid, first, self.num_blocks,
            lambda index, x, attend: self._run(index, x, context, attend), self.norm_tokens)

    def _run(self, index: int, x: Tensor, context: Any, attend: Tensor | None) -> Tensor:
        return run_checkpointed(self.with_cp, self.run_block, index, x, context, attend)

    def get_layer_depth(self, name: str) -> tuple[int, int]:
        """Depth of a parameter for the decay of learning rates from layer to layer, and the number of depths.

        Block i has depth i, the embedding that of the first block; the blocks of the head and the last norm have the
        greatest depth, that is the base learning rate (EoMT, EASE).

        Args:
            name: Name of the parameter in the backbone.
        """
        deepest, parts = self.num_blocks - 1, name.split('.')
        if parts[0] == 'norm':
            return deepest, self.num_blocks
        index = int(parts[1]) if parts[0] == 'blocks' else 0
        return (deepest if index >= self.num_blocks - self.num_head_blocks else index), self.num_blocks


def patch_grid(x: Tensor, patch_size: int, name: str) -> tuple[int, int]:
    """Rows and columns of the patches of frames (N, 3, H, W).

    Raises:
        ValueError: H or W is not a multiple of the patch size.
    """
    height, width = x.shape[-2:]
    if height % patch_size or width % patch_size:
        near = [max(1, round(side / patch_size)) * patch_size for side in (height, width)]
        raise ValueError(f'{name}: the frames are {height}x{width}, expected multiples of the patch size {patch_size}: '
                         f'resize them in the pipeline, for example to {near[0]}x{near[1]}, and set '
                         f'data_preprocessor.pad_size_divisor={patch_size}')
    return height // patch_size, width // patch_size
