"""Compare clips of tiny AVSBench trees with the output of AVSegFormer's datasets."""
import json
from pathlib import Path

import numpy as np
from mmcv.transforms import CenterCrop, Resize
from mmengine.dataset import Compose

from mmavs.datasets import AVSBenchMS3Dataset, AVSBenchS4Dataset, AVSSDataset
from mmavs.datasets.avss import supervised_frames
from mmavs.datasets.transforms import ClipBroadcaster, LoadAudio, LoadClipFrames, LoadClipMasks, PackClipInputs

KEYS = {'frame_sizes'}
MEAN, STD = (np.array(x, np.float32).reshape(3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
DIRECTORIES = dict(s4='Single-source', ms3='Multi-sources', avss='AVSS')


def check(case_dir: Path, case: dict, seeded) -> None:
    """Load every clip with expected arrays in the case and compare them."""
    expected = np.load(case_dir / 'expected.npz')
    clips = {}
    for key in expected.files:
        clip, field = key.rsplit('.', 1)
        clips.setdefault(clip, {})[field] = expected[key]
    assert clips, f'{case_dir}: no expected arrays'
    for name, arrays in clips.items():
        subset, split, *index = name.split('_')
        width, height = case['frame_sizes'][subset]
        root = str(case_dir / 'data' / DIRECTORIES[subset])
        if subset == 'avss':
            _check_avss(root, split, int(index[0]), (width, height), arrays, name)
        else:
            _check_binary(root, subset, split, (width, height), arrays, name)


def _check_binary(root: str, subset: str, split: str, size: tuple[int, int], arrays: dict, name: str) -> None:
    resize = ClipBroadcaster([Resize(size, backend='pillow')])
    steps = [LoadClipFrames(), LoadClipMasks(), LoadAudio('log_mel'), resize, PackClipInputs()]
    dataset_type = dict(s4=AVSBenchS4Dataset, ms3=AVSBenchMS3Dataset)[subset]
    clip = dataset_type(root, split, pipeline=steps)[0]
    sample = clip['data_samples']
    _compare_frames(clip['inputs']['frames'].numpy(), arrays['frames'], name)
    np.testing.assert_array_equal(clip['inputs']['log_mel'][:, :, ::8, ::8].numpy(), arrays['log_mel'], name)
    masks = sample.gt_sem_seg[sample.labelled].numpy()
    np.testing.assert_array_equal(masks[:, None], arrays['masks'], name)


def _check_avss(root: str, split: str, index: int, size: tuple[int, int], arrays: dict, name: str) -> None:
    # The classes of the case have names of their own.
    labels = json.loads((Path(root) / 'label2idx.json').read_text())
    classes = sorted(labels, key=labels.get)
    dataset = AVSSDataset(root, split, num_frames=len(arrays['frames']), metainfo=dict(classes=classes))
    results = dataset.get_data_info(index)
    assert results['clip_id'].split('/')[1] == str(arrays['uid'])
    width, height = size
    results = Compose([LoadClipFrames(), LoadClipMasks(off_palette='background')])(results)
    if split == 'train':
        # Short side to the crop size, long side cut to an integer; center crop.
        ori_height, ori_width = results['ori_shape']
        wide = ori_width > ori_height
        scale = (int(ori_width * height / ori_height), height) if wide else (width, int(ori_height * width / ori_width))
        steps = [Resize(scale, backend='pillow')]
        crop = CenterCrop((width, height))
    else:
        steps, crop = [Resize((width, height), backend='pillow')], None
    results = ClipBroadcaster(steps)(results)
    if crop is not None:
        results = ClipBroadcaster([crop])(results)
    clip = PackClipInputs()(results)
    sample = clip['data_samples']
    _compare_frames(clip['inputs']['frames'].numpy(), arrays['frames'], name)
    np.testing.assert_array_equal(sample.valid.numpy(), arrays['valid'].astype(bool), name)

    # The reference's flags of v1s are those of training in every split, but it returns (and scores) all labels.
    part = results['clip_id'].split('/')[0]
    published = supervised_frames(part)
    published += [False] * (len(arrays['labelled']) - len(published))
    np.testing.assert_array_equal(published, arrays['labelled'].astype(bool), name)
    used = arrays['labelled' if split == 'train' else 'valid'].astype(bool)
    np.testing.assert_array_equal(sample.labelled.numpy(), used, name)

    masks = sample.gt_sem_seg[:, None].numpy()
    np.testing.assert_array_equal(masks[used], arrays['labels'][used], name)
    assert (masks[~used] == 255).all() and not arrays['labels'][~used].any()


def _compare_frames(frames: np.ndarray, normalized: np.ndarray, name: str) -> None:
    stride = frames.shape[-1] // normalized.shape[-1]
    expected = (normalized * STD + MEAN) * 255
    np.testing.assert_allclose(frames[:, :, ::stride, ::stride], expected, rtol=0, atol=2, err_msg=name)
