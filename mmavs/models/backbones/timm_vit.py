"""Vision transformers of timm, block by block."""

import torch
from torch import Tensor

from mmavs.registry import MODELS
from mmavs.utils.optional_packages import optional_import

from .block_backbone import BlockBackbone, patch_grid


@MODELS.register_module()
class TimmViT(BlockBackbone):
    """Plain vision transformer of timm that hands out its last blocks.

    These are the models of timm's ``VisionTransformer`` (ViT, DeiT, DINOv2, SigLIP, ...) and ``Eva`` (EVA-02, DINOv3,
    ...). Frames may have any size that is a multiple of the patches; absolute positions are interpolated.

    Args:
        model_name: Name of the model, for example ``'vit_base_patch14_reg4_dinov2'``; ``timm.list_models`` has them.
        num_head_blocks: Number of last blocks that the head runs.
        pretrained: Whether timm downloads the pretrained weights when it builds the model.
        arch: Further arguments of ``timm.create_model``, for example ``drop_path_rate``.
        with_cp: See :class:`BlockBackbone`.

    Attributes:
        embed_dims: Channels C of a token.
        num_blocks: Number L of blocks.

    Raises:
        ImportError: timm is not installed.
        ValueError: timm does not have the model, or it is not a plain vision transformer.
    """

    def __init__(self,
                 model_name: str,
                 num_head_blocks: int,
                 pretrained: bool = False,
                 arch: dict | None = None,
                 with_cp: bool = False) -> None:
        super().__init__(num_head_blocks, with_cp=with_cp)
        timm = optional_import('timm', 'TimmViT')
        if not timm.is_model(model_name):
            raise ValueError(f'TimmViT: timm {timm.__version__} has no model {model_name!r}, expected one of '
                             "timm.list_models('*vit*')")
        kinds = timm.models.vision_transformer.VisionTransformer, timm.models.eva.Eva
        options = dict(num_classes=0, global_pool='', dynamic_img_size=True)
        try:
            model = timm.create_model(model_name, pretrained=pretrained, **options, **(arch or {}))
        except TypeError as error:
            raise ValueError(f'TimmViT: {model_name!r} does not take frames of any size ({error}), expected a plain '
                             'vision transformer such as vit_base_patch14_reg4_dinov2') from error
        if not isinstance(model, kinds):
            raise ValueError(f'TimmViT: {model_name!r} is a {type(model).__name__}, expected a plain vision '
                             'transformer (VisionTransformer or Eva of timm) such as vit_base_patch14_reg4_dinov2')
        self.rotates = isinstance(model, timm.models.eva.Eva)
        self.mixed_rope = bool(getattr(model, 'rope_mixed', False))
        # timm's own embedding and positions; its blocks and its norm are registered once, below.
        self.blocks, self.norm = model.blocks, model.norm
        del model.blocks, model.norm
        # MMEngine would call timm's init_weights, which makes the weights random again.
        model.is_init = True
        self.embedding = model
        self.embed_dims = model.embed_dim
        self.num_blocks = len(self.blocks)
        self.patch_size = model.patch_embed.patch_size[0]

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int], Tensor | None]:
        """See :class:`BlockBackbone`."""
        grid = patch_grid(x, self.patch_size, 'TimmViT')
        rope, model = None, self.embedding
        x = model._pos_embed(model.patch_embed(x))
        if self.rotates:
            x, rope = x
        return model.norm_pre(x), grid, rope

    def run_block(self, index: int, x: Tensor, context: Tensor | None, attend: Tensor | None) -> Tensor:
        """See :class:`BlockBackbone`. Queries are not rotated."""
        if not self.rotates:
            return self.blocks[index](x, attn_mask=attend)
        rope = context[index] if context is not None and self.mixed_rope else context
        return self.blocks[index](x, rope=self._pad_rope(rope, x), attn_mask=attend)

    def _pad_rope(self, rope: Tensor | None, x: Tensor) -> Tensor | None:
        """Rotations (..., h * w, sines and cosines) of the patches, preceded by the identity for each query in x.

        A block rotates all tokens but as many as the model has class and register tokens.
        """
        if rope is None:
            return None
        num_queries = x.shape[1] - self.embedding.num_prefix_tokens - rope.shape[-2]
        if num_queries == 0:
            return rope
        sine, cosine = rope[..., :num_queries, :].new_zeros(()), rope.new_ones(())
        half = rope.shape[-1] // 2
        shape = (*rope.shape[:-2], num_queries, half)
        identity = torch.cat((sine.expand(shape), cosine.expand(shape)), -1)
        return torch.cat((identity, rope), -2)

    def norm_tokens(self, x: Tensor) -> Tensor:
        """See :class:`BlockBackbone`."""
        return self.norm(x)
