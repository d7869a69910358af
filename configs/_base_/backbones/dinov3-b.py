# DINOv3-B/16, a plain vision transformer, for EASE, whose head runs its last four blocks.
backbone = dict(
    type='TransformersViT',
    model_type='dinov3_vit',
    num_head_blocks=4,
    arch=dict(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        num_register_tokens=4),
    # A copy of Hugging Face facebook/dinov3-vitb16-pretrain-lvd1689m, for which the DINOv3 License has to be accepted
    directory='pretrained/dinov3-vitb16-pretrain-lvd1689m')
backbone_channels = 768
