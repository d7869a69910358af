# The parts that all published models share. A method adds its head, a file named by a backbone adds the backbone. It
# pops it out of its base, which leaves the name free for a config that replaces the backbone.
_base_ = '../audio_backbones/vggish.py'

model = dict(
    type='AudioVisualSegmentor',
    data_preprocessor=dict(
        type='AVSDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        pad_size_divisor=32),
    audio_backbone=_base_.pop('audio_backbone'))
