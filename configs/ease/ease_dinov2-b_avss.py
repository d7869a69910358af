# EASE with DINOv2-B/14 on AVSBench-semantic (AVSS) at 224x224; otherwise as with DINOv3-B.
_base_ = './ease_dinov3-b_avss.py'

model = dict(
    backbone=dict(
        model_type='dinov2',
        arch=dict(_delete_=True, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, image_size=518),
        # A copy of Hugging Face facebook/dinov2-base
        directory='pretrained/dinov2-base'))
