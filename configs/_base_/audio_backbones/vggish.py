# VGGish, pretrained on AudioSet, frozen: the audio backbone of all published models.
audio_backbone = dict(
    type='VGGish',
    output='embedding',
    frozen=True,
    init_cfg=dict(type='Pretrained', checkpoint='pretrained/vggish-10086976.pth'))
