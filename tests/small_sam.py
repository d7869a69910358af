"""A SAM and a SAM 2 of a few thousand random weights, saved as the library transformers saves them."""
from pathlib import Path

import torch

DECODER = dict(hidden_size=16, mlp_dim=16, num_hidden_layers=1, num_attention_heads=2, attention_downsample_rate=1,
               iou_head_hidden_dim=16, iou_head_depth=2)
PROMPTS = dict(hidden_size=16, image_size=64, patch_size=16, mask_input_channels=4)


def save_small_sam(directory: Path) -> Path:
    """Save a SAM for 64x64 pixels."""
    torch.manual_seed(0)
    from transformers import SamConfig, SamImageProcessor, SamModel
    encoder = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=64, patch_size=16,
                   output_channels=16, window_size=0, global_attn_indexes=[0], mlp_dim=16, num_pos_feats=8)
    processor = SamImageProcessor(
        size=dict(longest_edge=64), pad_size=dict(height=64, width=64), mask_size=dict(longest_edge=16),
        mask_pad_size=dict(height=16, width=16))
    model = SamModel(SamConfig(vision_config=encoder, prompt_encoder_config=PROMPTS, mask_decoder_config=DECODER))
    return _save(model, processor, directory)


def save_small_sam2(directory: Path) -> Path:
    """Save a SAM 2 for 64x64 pixels."""
    torch.manual_seed(0)
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2ImageProcessor, Sam2Model, Sam2VisionConfig
    encoder = Sam2HieraDetConfig(
        hidden_size=8, num_attention_heads=1, image_size=[64, 64], window_positional_embedding_background_size=[2, 2],
        blocks_per_stage=[1, 1, 2, 1], embed_dim_per_stage=[8, 16, 32, 64], num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[4, 4, 4, 4], global_attention_blocks=[3])
    vision = Sam2VisionConfig(
        backbone_config=encoder, backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]], fpn_hidden_size=16)
    processor = Sam2ImageProcessor(size=dict(height=64, width=64), mask_size=dict(height=16, width=16))
    config = Sam2Config(vision_config=vision, prompt_encoder_config=PROMPTS, mask_decoder_config=DECODER)
    return _save(Sam2Model(config), processor, directory)


def _save(model: torch.nn.Module, processor: object, directory: Path) -> Path:
    # With the small initial weights, the masks of all points would be equal.
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith(('mask_decoder', 'prompt_encoder')) and weight.ndim > 1:
                weight.copy_(torch.randn_like(weight) * 0.5)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory
