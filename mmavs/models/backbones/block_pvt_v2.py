"""PVTv2 without its last stage, block by block (EASE)."""
from collections.abc import Mapping, Sequence
from math import isqrt

from torch import Tensor

from mmavs.registry import MODELS

from .block_backbone import BlockBackbone
from .pvt_v2 import PVTv2

STAGES = (1, 2, 3)


@MODELS.register_module()
class BlockPVTv2(BlockBackbone):
    """The first three stages of :class:`PVTv2`, which hand out their last blocks at stride 16.

    Names and weights are those of PVTv2; the published ``pvt_v2_b*.pth`` are loaded as they are, without what is cut.

    In the last ``num_full_blocks`` blocks every token attends to all others, not to a smaller map, as queries need. The
    depthwise convolution of a block takes queries and patches together as one square map, queries first and row by row,
    hence it also mixes queries with pixels, as in EASE's released code.

    Args:
        arch: See :class:`PVTv2`.
        num_head_blocks: Number of last blocks that the head runs.
        num_full_blocks: Number of last blocks with full attention.
        init_cfg: Initialization config of MMEngine.
        with_cp: See :class:`BlockBackbone`.

    Attributes:
        embed_dims: Channels C of a token.
        num_blocks: Number L of blocks of the three stages.
    """

    def __init__(self,
                 arch: str | Mapping[str, Sequence[int]],
                 num_head_blocks: int,
                 num_full_blocks: int,
                 init_cfg: dict | None = None,
                 with_cp: bool = False) -> None:
        super().__init__(num_head_blocks, init_cfg, with_cp)
        backbone = PVTv2(arch, drop_path_rate=0.)
        for stage in STAGES:
            for part in ('patch_embed', 'block', 'norm'):
                self.add_module(f'{part}{stage}', getattr(backbone, f'{part}{stage}'))
        depths = [len(getattr(self, f'block{stage}')) for stage in STAGES]
        self.embed_dims = backbone.embed_dims[2]
        self.num_blocks = sum(depths)
        self.num_embedding_blocks = self.num_blocks - depths[-1]
        if not 0 <= num_full_blocks <= depths[-1]:
            raise ValueError(f'BlockPVTv2: num_full_blocks is {num_full_blocks}, expected 0 to {depths[-1]}, the '
                             'blocks of the third stage')
        for block in self.block3[depths[-1] - num_full_blocks:]:
            block.attn.sr = block.attn.norm = None
        self.register_load_state_dict_pre_hook(_drop_cut_parts)

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int], tuple[int, int]]:
        """See :class:`BlockBackbone`. Runs the first two stages."""
        for stage in STAGES[:-1]:
            x = PVTv2.run_stage(self, stage - 1, x)
        tokens, size = self.patch_embed3(x)
        return tokens, size, size

    def run_block(self, index: int, x: Tensor, context: tuple[int, int], attend: Tensor | None) -> Tensor:
        """See :class:`BlockBackbone`.

        Raises:
            ValueError: Queries and patches together do not fill a square.
        """
        size, length = context, x.shape[1]
        if length != size[0] * size[1]:
            side = isqrt(length)
            if side * side != length:
                patches = size[0] * size[1]
                raise ValueError(
                    f'BlockPVTv2: {length - patches} queries and {patches} patches do not fill a square, which its '
                    f'convolution needs: set num_queries of the head to {(isqrt(patches) + 1)**2 - patches}, for '
                    f'example, or resize the frames to the size that num_queries was chosen for')
            size = side, side
        return self.block3[index - self.num_embedding_blocks](x, size, attend)

    def norm_tokens(self, x: Tensor) -> Tensor:
        """See :class:`BlockBackbone`."""
        return self.norm3(x)

    def get_layer_depth(self, name: str) -> tuple[int, int]:
        """See :class:`BlockBackbone`."""
        part, index = name.split('.')[:2]
        before = sum(len(getattr(self, f'block{stage}')) for stage in range(1, int(part[-1])))
        if part == 'norm3':
            return super().get_layer_depth('norm.weight')
        return super().get_layer_depth(f"blocks.{before + int(index) if part.startswith('block') else before}.")


def _drop_cut_parts(module: BlockPVTv2, state_dict: dict, prefix: str, *args: object) -> None:
    """Drop the last stage, the classifier and the reduction of full attention, which the published files hold too."""
    cut = [f'{prefix}{name}' for name in ('patch_embed4.', 'block4.', 'norm4.', 'head.')]
    cut += [f'{prefix}block3.{i}.attn.{name}.' for i, block in enumerate(module.block3) if block.attn.sr is None
            for name in ('sr', 'norm')]
    for key in [key for key in state_dict if key.startswith(tuple(cut))]:
        del state_dict[key]
