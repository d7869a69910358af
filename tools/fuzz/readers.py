"""Readers of mmavs by kind of file, with the inputs that they are tried with."""
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from unittest import mock

from documents import hostile_csv, hostile_json, hostile_pointers, hostile_yaml
from grammar import hostile_files, hostile_log_mels
from media import arrays, changed, hostile_archives, images, sounds, videos
from mmengine.config import Config

from mmavs.analysis.method_comparison import read_scores
from mmavs.analysis.result_collection import read_report, tabulate
from mmavs.analysis.robustness import read_results
from mmavs.apis.exported_model import parse_description
from mmavs.audio.io import audio_seconds, read_stereo_waveform, read_waveform
from mmavs.checkpoint.reading import extract_state_dict, normalize_checkpoint, read_checkpoint
from mmavs.checkpoint.tensor_file import load_tensor
from mmavs.datasets import AVSBenchMS3Dataset, AVSBenchS4Dataset, AVSSDataset, VPODataset
from mmavs.datasets.check import check_dataset
from mmavs.datasets.clip_extraction import read_splits
from mmavs.datasets.file_listing import read_csv
from mmavs.datasets.mask_files import MaskFormat, open_masks
from mmavs.datasets.mask_prior_settings import FORMAT as PRIOR_FORMAT
from mmavs.datasets.mask_prior_settings import read_settings
from mmavs.datasets.mask_priors import read_id_map, read_masks, stored_key
from mmavs.datasets.transforms.audio import read_log_mel
from mmavs.datasets.transforms.loading import read_mask
from mmavs.engine.resume import check_training_state, last_checkpoint
from mmavs.engine.test_report import FORMAT as REPORT_FORMAT
from mmavs.synthesis.composition import read_classes, read_pairs
from mmavs.synthesis.current_dataset import is_current
from mmavs.utils import zoo
from mmavs.utils.config import load_config
from mmavs.utils.images import image_shape, read_image
from mmavs.utils.json_files import read_json
from mmavs.video import FRAME_POSITION, AudioTrack, probe_video, sample_frames
from mmavs.video.resampled_audio import ResampledAudio

TOOLS = Path(__file__).parents[1]
sys.path += [str(TOOLS / 'analysis_tools'), str(TOOLS / 'benchmarks')]
from analyze_logs import read_curves, summary  # noqa: E402
from confusion_matrix import read_confusion  # noqa: E402
from print_rows import COLUMNS, STAMP  # noqa: E402
from print_rows import main as print_rows  # noqa: E402


@dataclass(frozen=True)
class Kind:
    """Kind of files.

    Attributes:
        inputs: Function from a seed to a function that makes one input after the other.
        readers: Name of the file -> functions that read it, given its path.
    """
    inputs: Callable[[int], Callable[[], bytes]]
    readers: dict[str, tuple[Callable[[Path], object], ...]]


def read_weights(path: Path) -> None:
    """Read a checkpoint as a model, a training that is resumed, and a converter do."""
    checkpoint = read_checkpoint(path)
    for use in (extract_state_dict, normalize_checkpoint, partial(check_training_state, config=Config())):
        try:
            use(checkpoint, str(path))
        except ValueError as error:
            if path.name not in str(error):
                raise


def read_video(path: Path) -> None:
    """Read the properties of a video, a frame of each second, and its audio."""
    properties = probe_video(path)
    for _ in sample_frames(path, Fraction(1), FRAME_POSITION):
        pass
    if properties.audio_rate:
        audio = ResampledAudio(AudioTrack(path, properties.start), 16000)
        audio.section(0, 16000)
        audio.close()


def read_archive(path: Path, mask_format: MaskFormat) -> None:
    """Read all masks of an archive."""
    masks = open_masks(path, mask_format)
    for clip, numbers in masks.clips.items():
        masks.read(clip, numbers)


def list_clips(path: Path, build: Callable, **options: str) -> None:
    """List the clips of a dataset, whose list has this path."""
    dataset = build(str(path.parent), split='train', lazy_init=True, **options)
    dataset.ann_file = str(path)
    dataset.list_clips()
    dataset.full_init()


def read_label_file(path: Path) -> None:
    """Compare a file of classes with those of AVSBench-semantic."""
    AVSSDataset(str(path.parent), 'train', lazy_init=True)._check_label_file(path)


def check_problems(path: Path, subset: str, **options: str) -> None:
    """Check a dataset, which raises no error: it lists problems."""
    assert all(isinstance(line, str) for line in check_dataset(path.parent, subset, published=False, **options))


def read_test_report(path: Path) -> None:
    """Read a report and compute its scores again."""
    report = read_report(path)
    if report.scores:
        tabulate({'x': [report], 'y': [report]}, list(report.scores), 'x', samples=10)


def read_zoo_file(path: Path, read: Callable, names: dict[str, str]) -> None:
    """Read a metafile in the place that it has in the model zoo."""
    for name, text in names.items():
        (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (path.parent / name).write_text(text)
    root = path.parent if path.parent.name != '_base_' else path.parents[2]
    with mock.patch.object(zoo, 'zoo_root', lambda: root):
        read.__wrapped__()


def read_based_config(path: Path) -> None:
    """Read a Python config with the file as its base."""
    config = path.parent / f'of_{path.stem}.py'
    config.write_text(f'_base_ = [{path.name!r}]\n')
    try:
        load_config(str(config))
    except ValueError as error:
        if config.name not in str(error):
            raise


def run_tool(path: Path, main: Callable[[], None]) -> None:
    """Run a tool on a file."""
    with mock.patch.object(sys, 'argv', ['tool', str(path)]), mock.patch('builtins.print'):
        main()


ROW = dict(
    name='a', image='clips.csv', mask='clips.csv', indices='1 2', split='train', type='VPO-SS', category='dog_barking',
    uid='u', label='v1s', a_obj='dog', vid='a', video='v.mp4', video_id='a', second='0', cateName='dog', cateId='18',
    img_Id='7', ann_Ids='3', vgg_file='g', multi_instance='0', audio_pos='0.5', id='1', pair_id='p',
    audio_a='clips.csv', audio_b='', target_ids='1', kind='k') | {'class': 'dog'}
LIST = [ROW,
        dict(ROW, name='b', uid='v', img_Id='8', ann_Ids='4', pair_id='q', id='2', vgg_file='h') | {'class': 'cat'},
        dict(ROW, name='c', uid='w', split='test', img_Id='9', id='3', pair_id='r', vgg_file='i', image='', audio_a='')
        | {'class': 'bird'}]
ONE_CLIP = dict(subset='ms3', clip='a', frames=5, M_J=0.5, M_F=None)
JSON_FILES = [
    {'background': 0, 'dog': 1, 'cat': 2}, [1, [2.5, None], {'a': 'b'}],
    dict(format=REPORT_FORMAT, stamp=dict(checkpoint_sha256='0'), scores={'avsbench/M_J': 0.5},
         details=dict(avsbench=dict(metric='AVSBenchMetric', protocol='avsbench', options={}, per_clip=[ONE_CLIP]))),
    dict(format=REPORT_FORMAT, stamp={}, scores={'dataset/mIoU': 0.5},
         details=dict(dataset=dict(metric='DatasetMetric', options={}, classes=['background', 'a'], per_clip=[
             dict(subset='vpo-ss', clip='a', per_class=dict(a=dict(tp=1, fp=2, fn=3)))],
             confusion_matrix=[[1, 2], [3, 4]]))),
    [dict(name='a', config='c.py', checkpoint='a.pth', clips=dict(original=3), scores=dict(original=dict(M_J=0.5)),
          other_scores=dict(original={}), g_scores={}, mute_score=None)],
    dict(recipe='', scores=dict(original=dict(M_J=0.5), muted=dict(M_J=None))),
    dict(arguments=dict(version=1), num_files=3), dict(format=PRIOR_FORMAT, settings=dict(a=1), notes={}),
    dict(step=1, loss=0.5, iter=1, time=0.1, data_time=0.1),
    dict(format_version=1, frame_size=[8, 8], inputs=['frames'], dataset_meta=dict(classes=['background', 'a']),
         independent_frames=True, stereo=False, examples_per_frame=1, pipeline=[
             dict(type='ClipBroadcaster', transforms=[dict(type='Resize', scale=[8, 8])]),
             dict(type='PackClipInputs')])]
WEIGHTS = dict(URL='https://host/a.pth', License='MIT', SHA256='0' * 64)
YAML_FILES = [
    dict(Models=[dict(Name='a', Config='configs/a.py', Weights=WEIGHTS, Parameters=1, Results=[
        dict(Task='AVS', Dataset='S4', Metrics=dict(M_J=1.5), Protocol='avsbench', Source='paper')],
        Metadata=dict(FLOPs=1, Parameters=2)) | {'In Collection': 'A', 'Metadata': {'Training Data': 'S4'}}]),
    dict(Backbones=[dict(Name='b', Path='pretrained/b.pth', Converter='swin', Weights=WEIGHTS)]),
    dict(model=dict(type='x'), train_dataloader=dict(dataset=dict(type='AVSSDataset')), default_scope='mmavs',
         default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best='auto')), custom_hooks=[dict(type='x')],
         param_scheduler=[dict(type='ConstantLR')], val_evaluator=dict(type='AVSBenchMetric'))]
STATS_ROW = [{name: '1' for name in (*STAMP, *COLUMNS, 'command')}] * 2

KINDS = {
    'checkpoint': Kind(hostile_files, {'x.pth': (read_weights, load_tensor), 'x.safetensors': (read_checkpoint, )}),
    'log-mel': Kind(hostile_log_mels, {'x.pkl': (read_log_mel, )}),
    'image': Kind(changed(images), {'x.png': (
        read_image, image_shape, read_id_map, stored_key, lambda path: read_image(path, 'frame', 'RGB'),
        lambda path: read_mask(str(path), 'auto', 71, allow_unlabelled=True))}),
    'audio': Kind(changed(sounds), {'x.wav': (read_waveform, audio_seconds, read_stereo_waveform,
                                              partial(read_waveform, start=1000, stop=2000))}),
    'video': Kind(changed(videos), {'x.mp4': (read_video, )}),
    'array': Kind(changed(arrays), {'x.npy': (read_masks, read_id_map)}),
    'mask archive': Kind(hostile_archives, {'x.npz': tuple(
        partial(read_archive, mask_format=x) for x in (MaskFormat(), MaskFormat(5), MaskFormat(soft=True)))}),
    'list': Kind(hostile_csv(LIST), {
        'clips.csv': (
            partial(read_csv, columns=('name', 'split')), read_classes, partial(read_pairs, classes={1: 'dog'}),
            read_splits, partial(list_clips, build=AVSBenchS4Dataset), partial(list_clips, build=AVSBenchMS3Dataset),
            partial(list_clips, build=AVSSDataset),
            *(partial(list_clips, build=VPODataset, subset=subset) for subset in ('vpo-ss', 'vpo-ms', 'vpo-msmi')),
            partial(list_clips, build=VPODataset, subset='vpo-ss', layout='clean', audio_mode='stereo')),
        'ms3_meta_data.csv': (partial(check_problems, subset='ms3'), ),
        'metadata.csv': (partial(check_problems, subset='avss'), ),
        'vpo_data_clean.csv': (partial(check_problems, subset='vpo-ss', layout='clean'), )}),
    'rows of a benchmark': Kind(hostile_csv(STATS_ROW), {'rows.csv': (partial(run_tool, main=print_rows), )}),
    'JSON': Kind(hostile_json(JSON_FILES), {
        'x.json': (
            read_json, load_config, lambda path: parse_description(path.read_text(errors='replace'), path)),
        'label2idx.json': (read_label_file, ),
        'metrics.json': (read_test_report, read_confusion),
        'robustness.json': (read_results, ),
        'scores.json': (partial(read_scores, recipe=''), ),
        'scalars.json': (lambda path: summary(read_curves(str(path)), [], ''), ),
        'synthesis.json': (lambda path: is_current(path.parent, dict(version=1)), ),
        'mask_priors.json': (lambda path: read_settings(path.parent), ),
        'base.json': (read_based_config, )}),
    'YAML': Kind(hostile_yaml(YAML_FILES), {
        'metafile.yml': (partial(read_zoo_file, read=zoo.read_zoo,
                                 names={'model-index.yml': 'Import: [metafile.yml]'}), ),
        'configs/_base_/pretrained.yml': (partial(read_zoo_file, read=zoo.read_backbones, names={}), ),
        'config.yml': (load_config, ),
        'base.yml': (read_based_config, )}),
    'last_checkpoint': Kind(hostile_pointers, {'last_checkpoint': (lambda path: last_checkpoint(path.parent), )}),
}
