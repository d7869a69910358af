"""Vision transformers of the library transformers (DINOv3, DINOv2, ViT), block by block."""
import torch
from torch import Tensor, nn

from mmavs.checkpoint.transformers_files import check_saved_model, load_pretrained
from mmavs.registry import MODELS
from mmavs.utils.optional_packages import optional_import

from .block_backbone import BlockBackbone, patch_grid


@MODELS.register_module()
class TransformersViT(BlockBackbone):
    """Plain vision transformer of the library transformers that hands out its last blocks.

    Published DINOv3: patches of 16, a class and four register tokens, rotary positions on the patches only. While it
    is trained, the library multiplies these positions by a random factor of 1/2 to 2 in every step
    (``arch.pos_embed_rescale``), as in DINOv3's pretraining; EASE is trained with it.

    Args:
        model_type: Kind of model as the library names it: ``'dinov3_vit'``, ``'dinov2'``, ``'dinov2_with_registers'``
            or another one with ``embeddings``, a list of layers that take an attention mask, and a norm after them.
        num_head_blocks: Number of last blocks that the head runs.
        arch: Arguments of the library's config of this model, for example ``hidden_size``.
        directory: Local directory with the pretrained model, ``config.json`` and ``model.safetensors``, as the library
            saves it. It is read when weights are initialized, that is before training; nothing is downloaded.
        with_cp: See :class:`BlockBackbone`.

    Attributes:
        embed_dims: Channels C of a token.
        num_blocks: Number L of blocks.

    Raises:
        ImportError: transformers is not installed.
        ValueError: The library does not know the model type, or the model is not built as said above.
    """

    def __init__(self,
                 model_type: str,
                 num_head_blocks: int,
                 arch: dict | None = None,
                 directory: str | None = None,
                 with_cp: bool = False) -> None:
        super().__init__(num_head_blocks, with_cp=with_cp)
        transformers = optional_import('transformers', 'TransformersViT', 'transformers>=5')
        if model_type not in transformers.CONFIG_MAPPING:
            raise ValueError(f'TransformersViT: model_type is {model_type!r}, which transformers '
                             f"{transformers.__version__} does not know, expected 'dinov3_vit' or 'dinov2', for "
                             'example')
        self.directory = directory
        config = transformers.AutoConfig.for_model(model_type, **(arch or {}))
        model = transformers.AutoModel.from_config(config)
        self.embeddings, self.rope, self.blocks, self.norm = _parts(model, model_type)
        # Of masked pretraining; without effect here, hence without a gradient.
        if getattr(self.embeddings, 'mask_token', None) is not None:
            self.embeddings.mask_token = None
        self.embed_dims = config.hidden_size
        self.num_blocks = len(self.blocks)
        self.patch_size = config.patch_size

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int], dict]:
        """See :class:`BlockBackbone`."""
        grid = patch_grid(x, self.patch_size, 'TransformersViT')
        if self.rope is not None:
            return self.embeddings(x), grid, dict(position_embeddings=self.rope(x))
        return self.embeddings(x), grid, {}

    def run_block(self, index: int, x: Tensor, context: dict, attend: Tensor | None) -> Tensor:
        """See :class:`BlockBackbone`. The library rotates the last h * w tokens, hence no query."""
        return self.blocks[index](x, attention_mask=attend, **context)

    def norm_tokens(self, x: Tensor) -> Tensor:
        """See :class:`BlockBackbone`."""
        return self.norm(x)

    def init_weights(self) -> None:
        """Load the pretrained model of ``directory``.

        Raises:
            FileNotFoundError: The directory or one of its files does not exist.
            ValueError: A file is damaged, or holds a model of another kind or architecture.
        """
        super().init_weights()
        if self.directory is None:
            return
        transformers = optional_import('transformers', 'TransformersViT', 'transformers>=5')
        kind = 'a vision transformer'
        check_saved_model(self.directory, kind)
        model = load_pretrained(transformers.AutoModel, self.directory, kind, use_safetensors=True)
        parts = _parts(model, model.config.model_type)
        weights = {
            f'{name}.{key}': value
            for name, part in zip(('embeddings', 'rope', 'blocks', 'norm'), parts) if part is not None
            for key, value in part.state_dict().items() if key != 'mask_token'
        }
        ours = self.state_dict()
        differing = sorted(key for key in weights.keys() | ours.keys()
                           if key not in weights or key not in ours or weights[key].shape != ours[key].shape)
        if differing:
            raise ValueError(f'{self.directory}: the {model.config.model_type} there differs from the backbone of the '
                             f'config in {len(differing)} weights ({", ".join(differing[:3])}, ...): set '
                             'backbone.model_type and backbone.arch to the values of its config.json')
        with torch.no_grad():
            self.load_state_dict(weights)


def _parts(model: nn.Module, model_type: str) -> tuple[nn.Module, nn.Module | None, nn.ModuleList, nn.Module]:
    """Embeddings, rotary positions or None, blocks and last norm of a model of the library.

    Releases of the library differ in where they keep the blocks, and models in the name of their last norm.
    """
    parents = [part for name in ('model', 'encoder') if (part := getattr(model, name, None)) is not None]
    blocks = next((blocks for parent in (model, *parents) for name in ('layer', 'layers')
                   if isinstance(blocks := getattr(parent, name, None), nn.ModuleList)), None)
    norm = next((norm for name in ('norm', 'layernorm') if (norm := getattr(model, name, None)) is not None), None)
    if blocks is None or norm is None or not hasattr(model, 'embeddings'):
        raise ValueError(f'TransformersViT: a {model_type} of transformers has no embeddings, list of layers and norm '
                         "that are known here, expected a plain vision transformer such as 'dinov3_vit' or 'dinov2'")
    return model.embeddings, getattr(model, 'rope_embeddings', None), blocks, norm
