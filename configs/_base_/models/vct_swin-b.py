# VCT with Swin-B at 384 x 384, two classes (background, sounding object), without prototypes: the model of MS3.
# S4 and AVSS add num_prototypes and pac_loss, AVSS its number of classes; see configs/vct.
model = dict(
    type='AudioVisualSegmentor',
    independent_frames=True,
    data_preprocessor=dict(
        type='AVSDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        pad_size_divisor=32),
    backbone=dict(
        type='SwinTransformer',
        # Made from the published swin_base_patch4_window12_384_22k.pth by tools/model_converters/convert.py --from swin
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/swin_base_patch4_window12_384_22k_mmseg.pth'),
        pretrain_img_size=384,
        embed_dims=128,
        depths=(2, 2, 18, 2),
        num_heads=(4, 8, 16, 32),
        window_size=12,
        drop_path_rate=0.3,
        patch_norm=True),
    audio_backbone=dict(
        type='VGGish',
        output='conv',
        frozen=True,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/vggish-10086976.pth')),
    decode_head=dict(
        type='VCTHead',
        num_classes=2,
        input_size=(384, 384),
        audio_channels=512,
        pixel_decoder=dict(type='MSDeformAttnPixelDecoder', in_channels=(128, 256, 512, 1024)),
        criterion=dict(type='SetCriterion')))
