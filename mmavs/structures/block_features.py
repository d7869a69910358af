"""Features of a transformer whose last blocks are left to the head."""
from collections.abc import Callable

from torch import Tensor


class BlockFeatures(tuple):
    """Tokens of N frames before the last blocks of their backbone, with these blocks.

    It is a tuple of one map (N, C, h, w), that of the patches so far: any head can use it as a plain visual pyramid.

    Args:
        tokens: (N, prefix + h * w, C), the patches last and row by row; class and register tokens are the prefix.
        grid: (h, w) of the patches.
        first_block: Index of the first block that is left.
        num_blocks: Blocks of the whole backbone; the head runs ``first_block`` to ``num_blocks - 1``.
        run_block: Function of the index of a block, tokens (N, L, C) and ``attend``, that returns the tokens after the
            block. The tokens may begin with queries, further tokens that the backbone does not have itself, and always
            end with the patches. ``attend`` is bool (N, 1, L, L), True where a token (row) may attend to another one
            (column), or None to attend everywhere.
        norm: Norm after the last block.
    """

    def __new__(cls, tokens: Tensor, grid: tuple[int, int], first_block: int, num_blocks: int,
                run_block: Callable[[int, Tensor, Tensor | None], Tensor],
                norm: Callable[[Tensor], Tensor]) -> 'BlockFeatures':
        num_patches = grid[0] * grid[1]
        features = super().__new__(cls, (tokens[:, -num_patches:].transpose(1, 2).unflatten(2, grid), ))
        features.tokens, features.grid = tokens, grid
        features.first_block, features.num_blocks = first_block, num_blocks
        features.run_block, features.norm = run_block, norm
        return features
