"""Data of EASE: binary masks of AVSBench-semantic, single frames, masks of another size than the frames."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from avsbench_tree import write_avss
from PIL import Image

from mmavs.checkpoint.converters import CONVERTERS, export_weights
from mmavs.checkpoint.converters.ease import target_config
from mmavs.datasets import AVSSDataset, BinaryAVSSDataset, SingleFrames
from mmavs.datasets.transforms.loading import read_mask
from mmavs.engine.hooks import TrainingProgressHook
from mmavs.models import AVSDataPreprocessor
from mmavs.models.audio_backbones import VGGish
from mmavs.structures import AVSDataSample

LOADING = [dict(type='LoadClipFrames'), dict(type='LoadClipMasks'), dict(type='LoadAudio')]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return str(write_avss(tmp_path_factory.mktemp('avss')))


@pytest.mark.parametrize('subset,part,labelled', [('s4', 'v1s', [True] + [False] * 4), ('ms3', 'v1m', [True] * 5)])
def test_s4_and_ms3_of_avss_have_binary_masks_of_original_size(root, subset, part, labelled):
    dataset = BinaryAVSSDataset(root, 'train', subset, pipeline=LOADING)
    classes = AVSSDataset(root, 'train', pipeline=LOADING)
    assert len(dataset) == 1 and dataset.metainfo['classes'] == ('background', 'sounding object')
    clip = dataset[0]
    other = next(classes[i] for i in range(3) if classes[i]['clip_id'] == clip['clip_id'])
    assert clip['clip_id'] == f'{part}/train_{part}' and (clip['subset'], clip['num_classes']) == (subset, 2)
    assert clip['labelled'] == labelled and clip['masks'][0].shape == clip['ori_shape'] == (36, 60)
    for mask, of_classes, flag in zip(clip['masks'], other['masks'], labelled):
        np.testing.assert_array_equal(mask, of_classes != 0 if flag else 255)
    with pytest.raises(ValueError, match="subset is 'avss', expected 's4' or 'ms3'"):
        BinaryAVSSDataset(root, 'train', 'avss')


def test_nonzero_masks_of_colors_and_indices(tmp_path):
    values = np.array([[0, 17, 70], [0, 0, 255]], np.uint8)
    Image.fromarray(values).save(tmp_path / 'index.png')
    with pytest.raises(ValueError, match='index.png: mask value 255 is outside the classes'):
        read_mask(str(tmp_path / 'index.png'), 'nonzero', 2)
    found = read_mask(str(tmp_path / 'index.png'), 'nonzero', 2, allow_unlabelled=True)
    assert found.tolist() == [[0, 1, 1], [0, 0, 255]]
    colors = np.zeros((1, 3, 3), np.uint8)
    colors[0, 1, 2], colors[0, 2, 0] = 128, 64
    Image.fromarray(colors).save(tmp_path / 'rgb.png')
    assert read_mask(str(tmp_path / 'rgb.png'), 'nonzero', 2).tolist() == [[0, 1, 1]]


def test_single_frames_are_the_labelled_frames_with_the_audio_of_their_second(root):
    clips = AVSSDataset(root, 'train', pipeline=LOADING)
    frames = SingleFrames(AVSSDataset(root, 'train', pipeline=LOADING))
    assert len(frames) == 1 + 5 + 10
    vggish, index = VGGish(channels=(1, ) * 6, hidden_dims=8), 0
    for i in range(len(clips)):
        clip = clips[i]
        examples = vggish.log_mel_examples(torch.from_numpy(clip['waveform'])[None])[0]
        for frame in np.flatnonzero(clip['labelled']):
            single = frames[index]
            assert single['clip_id'] == clip['clip_id'] and single['valid'] == single['labelled'] == [True]
            np.testing.assert_array_equal(single['frames'][0], clip['frames'][frame])
            np.testing.assert_array_equal(single['masks'][0], clip['masks'][frame])
            if frame < len(examples):  # the last example of a clip without padding is incomplete
                example = vggish.log_mel_examples(torch.from_numpy(single['waveform'])[None])[0, 0]
                torch.testing.assert_close(example, examples[frame], atol=1e-4, rtol=1e-4)
            index += 1


def batch_of(mask_size, frame_size=(64, 64)):
    sample = AVSDataSample(metainfo=dict(img_shape=frame_size))
    sample.gt_sem_seg = torch.zeros(1, *mask_size, dtype=torch.uint8)
    frames = torch.zeros(1, 3, *frame_size, dtype=torch.uint8)
    return dict(inputs=[dict(frames=frames)], data_samples=[sample])


def test_masks_of_another_size_are_kept_if_frames_are_not_padded():
    preprocessor = AVSDataPreprocessor()
    masks = preprocessor(batch_of((28, 28)), training=True)['data_samples'][0].gt_sem_seg
    assert masks.shape == (1, 28, 28) and not masks.any()
    padded = preprocessor(batch_of((40, 50), (40, 50)), training=True)['data_samples'][0].gt_sem_seg
    assert padded.shape == (1, 64, 64) and (padded == 255).sum() == 64 * 64 - 40 * 50
    with pytest.raises(ValueError, match=r'masks are \(28, 28\).*the frames \(40, 50\), padded to \(64, 64\)'):
        preprocessor(batch_of((28, 28), (40, 50)), training=True)


def test_head_is_told_the_fraction_of_the_training_that_is_done():
    head = SimpleNamespace(progress=0.)
    runner = SimpleNamespace(model=SimpleNamespace(decode_head=head), iter=30, max_iters=120)
    hook = TrainingProgressHook()
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    assert head.progress == 0.25
    with pytest.raises(ValueError, match='no attribute progress.*remove the hook'):
        hook.before_train(SimpleNamespace(model=SimpleNamespace(decode_head=object())))


VIT_BLOCK = ('norm1.weight', 'norm1.bias', 'attention.q_proj.weight', 'attention.q_proj.bias',
             'attention.k_proj.weight', 'attention.v_proj.weight', 'attention.v_proj.bias', 'attention.o_proj.weight',
             'attention.o_proj.bias', 'layer_scale1.lambda1', 'norm2.weight', 'norm2.bias', 'mlp.up_proj.weight',
             'mlp.up_proj.bias', 'mlp.down_proj.weight', 'mlp.down_proj.bias', 'layer_scale2.lambda1')
PVT_BLOCK = ('norm1.weight', 'attn.q.weight', 'attn.kv.bias', 'attn.proj.weight', 'attn.sr.weight', 'attn.norm.bias',
             'norm2.bias', 'mlp.fc1.weight', 'mlp.dwconv.weight', 'mlp.dwconv.bias', 'mlp.fc2.bias')
HEAD = ('q_gen.query.weight', 'q_gen.layers.1.self_attn.in_proj_weight', 'q_gen.layers.0.cross_attn.out_proj.weight',
        'q_gen.layers.0.ffn.2.bias', 'q_gen.layers.1.norm3.weight', 'q_gen.output_proj.bias', 'class_head.weight',
        'mask_head.4.bias', 'upscale.scale_blocks.1.conv1.bias', 'upscale.scale_blocks.0.conv2.weight',
        'upscale.scale_blocks.0.norm.bias', 'audio_enhance.audio_proj.weight', 'audio_enhance.edge_fc_s1.0.weight',
        'audio_enhance.offset_s2.0.bias', 'audio_enhance.fusion_s1.weight', 'fuser.fc.weight',
        'audio_enhance.gumbel_clustering.cluster_centers', 'fuser.gumbel_clustering.cluster_centers',
        'fuser.av_cross_interaction.q_proj.weight', 'fuser.va_cross_interaction.v_proj.weight')
DROPPED = ('encoder.pixel_mean', 'encoder.pixel_std', 'attn_mask_probs', 'audio_enhance.fusion_s2.weight')
SHAPES = {'q.weight': (100, 768), 'class_head.bias': (72, )}


def ease_weights(kind, prefix='network.'):
    encoder = 'encoder.backbone.'
    if kind == 'vit':
        names = [f'{encoder}norm.weight', f'{encoder}patch_embed.cls_token', f'{encoder}patch_embed.register_tokens',
                 f'{encoder}patch_embed.patch_embeddings.bias', 'fuser.aud_proj.weight',
                 *(f'{encoder}blocks.{i}.{name}' for i in (0, 11) for name in VIT_BLOCK)]
    else:
        names = [f'{encoder}patch_embed.proj.weight', f'{encoder}patch_embed.norm.bias',
                 f'{encoder}stages.1.downsample.proj.bias', f'{encoder}stages.2.downsample.norm.weight',
                 *(f'{encoder}stages.{stage}.{name}' for stage in range(3)
                   for name in ('norm.weight', *(f'blocks.{i}.{x}' for i in (0, 2) for x in PVT_BLOCK)))]
    shapes = SHAPES | ({} if kind == 'vit' else {'q.weight': (49, 320)})
    weights = {prefix + name: torch.randn(shapes.get(name, (2, ))) for name in (*names, *shapes, *HEAD, *DROPPED)}
    return weights | {'criterion.empty_weight': torch.ones(72)}


@pytest.mark.parametrize('kind', ['vit', 'pvt'])
def test_every_key_of_the_released_files_is_used_or_dropped_with_a_reason_and_comes_back(kind):
    weights = ease_weights(kind)
    conversion = CONVERTERS['ease'].convert(weights)
    assert {*conversion.used, *conversion.dropped} == set(weights)
    assert sorted(conversion.dropped) == sorted(['criterion.empty_weight', *(f'network.{key}' for key in DROPPED)])
    assert all(conversion.dropped.values())
    back = CONVERTERS['ease'].file(export_weights('ease', conversion.state_dict).state_dict)
    assert sorted(back) == sorted(conversion.used)
    assert all(torch.equal(back[key], weights[key]) for key in back)
    plain = CONVERTERS['ease'].convert(ease_weights(kind, prefix=''))
    assert plain.state_dict.keys() == conversion.state_dict.keys()


def test_config_is_found_where_the_weights_tell_it():
    assert target_config(CONVERTERS['ease'].convert(ease_weights('pvt')).state_dict) == (
        'ease/ease_pvt-v2-b5-384_avss.py')
    with pytest.raises(ValueError, match=r'--config configs/ease/ease_dinov3-b_avss.py or .*dinov3-b-384_avss.py'):
        target_config(CONVERTERS['ease'].convert(ease_weights('vit')).state_dict)
