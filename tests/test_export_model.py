"""export_model, and inference with what it writes."""
import hashlib
import io
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from small_models import randomize_constant_init, small_config
from video_files import write_test_video

from mmavs.apis import AVSInferencer, export_model, inference_clip, init_model, model_export
from mmavs.apis import weights as weights_module
from mmavs.apis.exported_model import METADATA_KEY, load_exported_model
from mmavs.audio.log_mel import log_mel_spectrogram
from mmavs.cli import export, run_tool
from mmavs.models.audio_backbones.filter_bank import KaldiFilterBank
from mmavs.models.layers import group_by_density_peaks
from mmavs.models.layers.deformable_attention import sample_by_grid, sample_by_rows
from mmavs.models.layers.token_grouping import empty_groups, softmax_within_groups, spread_groups, sum_groups
from mmavs.models.segmentors.clip_scores import ClipScores
from mmavs.registry import MODELS
from mmavs.structures import AVSDataSample
from mmavs.utils.exporting import for_onnx

CONFIGS = Path(__file__).parents[1] / 'configs'
TINY = {
    'TPAVI': 'tpavi/tpavi_tiny_synthetic.py',
    'AVSegFormer': 'avsegformer/avsegformer_tiny_synthetic.py',
    'COMBO': 'combo/combo_tiny_synthetic.py',
    'VCT': 'vct/vct_tiny_synthetic.py',
    'ACT': 'vct/act_tiny_synthetic.py',
    'EASE': 'ease/ease_tiny_synthetic.py',
    'RAVS': 'ravs/ravs_tiny_synthetic.py',
}
SIZE = 96

onnx = pytest.importorskip('onnx', reason='the optional library onnx is not installed')
pytest.importorskip('onnxruntime', reason='the optional library onnxruntime is not installed')


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Function from a method to a checkpoint of its small config with random weights, none of them constant."""
    directory, paths = tmp_path_factory.mktemp('weights'), {}

    def make(method):
        if method not in paths:
            torch.manual_seed(0)
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                model = init_model(str(CONFIGS / TINY[method]), device='cpu')
            randomize_constant_init(model)
            paths[method] = directory / f'{method}.pth'
            torch.save(dict(state_dict=model.state_dict()), paths[method])
        return paths[method]

    return make


@pytest.fixture(scope='module')
def exported(weights, tmp_path_factory):
    """Function from a method and a format to the report of the export of its small config."""
    directory, reports = tmp_path_factory.mktemp('exported'), {}

    def make(method, format):
        if (method, format) not in reports:
            suffix = '.onnx' if format == 'onnx' else '.pt'
            reports[method, format] = export_model(
                str(CONFIGS / TINY[method]), weights(method), format, directory / f'{method}{suffix}')
        return reports[method, format]

    return make


def clip(num_frames, height=60, width=80):
    frames = torch.randint(256, (num_frames, height, width, 3), dtype=torch.uint8).numpy()
    return frames, (torch.rand(num_frames * 16000) - 0.5).numpy(), 16000


@pytest.mark.parametrize('format', ['torchscript', 'onnx'])
@pytest.mark.parametrize('method', TINY)
def test_an_exported_model_predicts_what_its_model_predicts(method, format, weights, exported):
    report = exported(method, format)
    assert report.difference < 1e-4 * report.largest_score
    model, other = init_model(str(CONFIGS / TINY[method]), weights(method), 'cpu'), load_exported_model(report.path)
    # Not the numbers of frames of the recorded clip; 7 are two groups of TPAVI and two windows of five.
    for num_frames in (1, 7):
        arguments = clip(num_frames)
        expected, found = (inference_clip(m, *arguments, outputs=('pred_sem_seg', 'seg_logits'))
                           for m in (model, other))
        assert expected.seg_logits.std() > 1e-3
        assert torch.allclose(found.seg_logits, expected.seg_logits, atol=1e-4, rtol=1e-4)
        assert (found.pred_sem_seg == expected.pred_sem_seg).float().mean() > 0.999


def test_a_clip_of_more_than_ten_frames_gets_the_audio_of_each_second(weights, exported):
    model = init_model(str(CONFIGS / TINY['VCT']), weights('VCT'), 'cpu')
    frames, waveform, _ = clip(12, SIZE, SIZE)
    inputs = dict(frames=torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous(), waveform=torch.from_numpy(waveform))
    sample = AVSDataSample(metainfo=dict(img_shape=(SIZE, SIZE), out_shape=(SIZE, SIZE)))
    batch = model.data_preprocessor(dict(inputs=[inputs], data_samples=[sample]))
    expected = model(**batch, mode='predict', outputs=['seg_logits'])[0].seg_logits
    for format in ('onnx', 'torchscript'):
        found = load_exported_model(exported('VCT', format).path).scores(inputs)
        assert torch.allclose(found, expected, atol=1e-4)


# Not RAVS: with ONNX Runtime and AVX-512 its probabilities differ by up to 0.09 on this video, presumably because
# pixels of even areas are nearly as close to one group as to another.
@pytest.mark.parametrize('method', ['TPAVI', 'VCT'])
def test_a_video_is_segmented_by_the_file_alone(method, weights, exported, tmp_path):
    video = write_test_video(tmp_path / 'video.mp4')
    expected = AVSInferencer(str(CONFIGS / TINY[method]), weights(method), 'cpu')(video, return_prob=True)
    found = AVSInferencer(exported(method, 'onnx').path)(video, return_prob=True)
    for a, b in zip(expected['predictions'], found['predictions']):
        assert a['times'].tolist() == b['times'].tolist()
        assert np.mean(a['masks'] == b['masks']) > 0.999
        assert np.abs(a['foreground_prob'].astype(float) - b['foreground_prob']).max() < 2e-3  # float16


def test_the_file_describes_the_model(weights, exported):
    from hashlib import sha256

    described = load_exported_model(exported('VCT', 'onnx').path)
    metadata = described.metadata
    assert metadata['config'] == 'vct_tiny_synthetic' and metadata['frame_size'] == [SIZE, SIZE]
    assert metadata['weights_sha256'] == sha256(weights('VCT').read_bytes()).hexdigest()
    assert described.dataset_meta['classes'][:2] == ['background', 'bell'] and described.independent_frames
    assert metadata['inputs'] == ['frames', 'waveform']
    assert not any('path' in str(transform) or 'Masks' in str(transform) for transform in metadata['pipeline'])
    shape = onnx.load(exported('VCT', 'onnx').path).graph.output[0].type.tensor_type.shape
    assert [dim.dim_param for dim in shape.dim] == ['T', 'K', 'H', 'W']


def test_the_command_prints_the_difference(weights, tmp_path, capsys):
    out = tmp_path / 'tpavi.pt'
    run_tool(export, [str(CONFIGS / TINY['TPAVI']), '--weights', str(weights('TPAVI')), '--format', 'torchscript',
                      '--out', str(out)])
    printed = capsys.readouterr().out
    assert out.is_file() and list(tmp_path.iterdir()) == [out]
    assert '96x96' in printed and 'largest difference from the scores of PyTorch' in printed


def test_published_weights_are_exported_by_name(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(weights_module, 'read_zoo', lambda: {'tpavi_tiny_synthetic': None})
    monkeypatch.setattr(weights_module, 'published_weights', lambda name: weights('TPAVI'))
    report = export_model(str(CONFIGS / TINY['TPAVI']), 'published', 'torchscript', tmp_path / 'x.pt')
    digest = hashlib.sha256(weights('TPAVI').read_bytes()).hexdigest()
    assert load_exported_model(report.path, 'cpu').metadata['weights_sha256'] == digest


def test_beyond_the_tolerance_nothing_is_written(weights, tmp_path):
    with pytest.raises(ValueError, match='differ from those of PyTorch by up to .* the tolerance is -1'):
        export_model(str(CONFIGS / TINY['TPAVI']), weights('TPAVI'), 'torchscript', tmp_path / 'x.pt', tolerance=-1)
    assert not list(tmp_path.iterdir())


def small_scores(config, **changes):
    """A small version of the model of a config as a function of tensors."""
    torch.manual_seed(0)
    model = small_config(CONFIGS / config)
    for part, values in changes.items():
        model[part].update(values)
    model = MODELS.build(model).eval()
    randomize_constant_init(model)
    return ClipScores(model, (64, 64)).eval().requires_grad_(False)


def run_exported(scores, tmp_path, num_frames, **inputs):
    """Scores of a model that was exported with other inputs, by ONNX Runtime and by TorchScript."""
    recorded = {key: torch.cat((x, x))[:2] if x.ndim > 1 else x for key, x in inputs.items()}
    for format, write in model_export._WRITERS.items():
        path = tmp_path / ('x.onnx' if format == 'onnx' else 'x.pt')
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter('ignore')
            write(scores, recorded, path, dict(format_version=1, pipeline=[], dataset_meta={}, frame_size=[64, 64],
                                               independent_frames=True, stereo=False, examples_per_frame=1,
                                               inputs=list(inputs)))
        yield load_exported_model(path).scores(inputs)


@pytest.mark.parametrize('config', [
    'vct/vct_swin-b_avss_beats.py', 'vct/vct_swin-b_avss_ast.py', 'vct/vct_swin-b_avss_audiomae.py',
    'avsegformer/avsegformer-v1_pvt-v2-b5_s4.py', 'vct/vct_swin-b-224_s4_mask-prior.py',
    'ease/ease_dinov3-b_avss.py'
])
def test_audio_backbones_first_versions_mask_priors_and_plain_transformers(config, tmp_path):
    scores = small_scores(config)
    inputs = dict(frames=torch.randint(256, (3, 3, 64, 64), dtype=torch.uint8), waveform=torch.rand(3 * 16000) - 0.5)
    if scores.model.mask_prior is not None:
        inputs['mask_prior'] = torch.randint(256, (3, 3, 64, 64), dtype=torch.uint8)
    if 'avss' in config:
        inputs['num_samples'] = torch.tensor([30000])
    expected = scores(**inputs)
    assert expected.std() > 1e-4
    for found in run_exported(scores, tmp_path, 3, **inputs):
        assert torch.allclose(found, expected, atol=1e-4, rtol=1e-3)


def test_noise_and_operators_that_onnx_lacks_are_errors(weights, tmp_path):
    class Bessel(torch.nn.Module):

        def forward(self, frames, waveform):
            return torch.special.bessel_j0(frames + waveform)

    config = Config.fromfile(CONFIGS / TINY['EASE'])
    config.model.decode_head.assignment = 'gumbel'
    with pytest.raises(ValueError, match='set decode_head.assignment=softmax'):
        export_model(config, weights('EASE'), 'torchscript', tmp_path / 'x.pt')
    clip = dict(frames=torch.rand(2), waveform=torch.rand(2))
    with pytest.raises(ValueError, match='operator that ONNX lacks .*bessel_j0.* format torchscript'):
        model_export._WRITERS['onnx'](Bessel(), clip, tmp_path / 'x.onnx', {})
    assert not list(tmp_path.iterdir())


def test_stereo_with_several_seconds_for_a_frame():
    scores = small_scores('ravs/ravs_pvt-v2-b5_vpo-msmi_stereo.py')
    model = scores.model
    frames, waveform = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8), torch.rand(2, 96000) - 0.5
    batch = model.data_preprocessor(dict(inputs=[dict(frames=frames, waveform=waveform)]))
    expected = model(**batch, mode='predict', outputs=['seg_logits'])[0].seg_logits
    assert torch.allclose(scores(frames, waveform), expected, atol=1e-5)


def test_log_mel_of_an_export_is_that_of_pytorch():
    waveform = torch.rand(2, 16000) - 0.5
    with for_onnx():
        exported = log_mel_spectrogram(waveform), KaldiFilterBank('povey')(waveform)
    assert (log_mel_spectrogram(waveform) - exported[0]).abs().max() < 1e-4
    # Its lowest bands, which hold little but rounding errors, are not offset.
    assert (KaldiFilterBank('povey')(waveform) - exported[1]).abs().max() < 1e-3


def test_sampling_by_grid_and_by_rows_are_equal():
    shapes, locations = [(4, 6), (2, 3)], 1.4 * torch.rand(2, 5, 2, 2, 3, 2) - 0.2
    value, weights = torch.randn(2, 30, 2, 4), torch.rand(2, 5, 2, 2, 3)
    assert torch.allclose(sample_by_grid(value, shapes, locations, weights),
                          sample_by_rows(value, shapes, locations, weights), atol=1e-5)


def test_groups_of_an_export_are_those_of_pytorch():
    tokens, x = torch.randn(2, 40, 8), torch.randn(2, 40, 3)
    groups = group_by_density_peaks(tokens, 6, min_prominence=0.5)

    def results():
        return (softmax_within_groups(x, groups, 6), sum_groups(x, groups, 6), spread_groups(x[:, :6], groups),
                empty_groups(groups, 6), group_by_density_peaks(tokens, 6, min_prominence=0.5))

    plain = results()
    assert plain[3].any()
    with for_onnx():
        for expected, found in zip(plain, results()):
            assert torch.allclose(found.double(), expected.double(), atol=1e-5)


def test_errors_say_what_is_expected(weights, exported, tmp_path, monkeypatch):
    config, checkpoint = str(CONFIGS / TINY['TPAVI']), weights('TPAVI')
    with pytest.raises(ValueError, match="format is 'tensorrt', expected 'onnx' or 'torchscript'"):
        export_model(config, checkpoint, 'tensorrt')
    with pytest.raises(ValueError, match=r'x.pt: the suffix of a file of the format onnx is .onnx'):
        export_model(config, checkpoint, 'onnx', tmp_path / 'x.pt')
    with pytest.raises(ValueError, match=r'the size is \(64, 64\) .* resizes frames to \(96, 96\)'):
        export_model(config, checkpoint, 'torchscript', tmp_path / 'x.pt', frame_size=(64, 64))
    path = exported('TPAVI', 'torchscript').path
    with pytest.raises(ValueError, match='is an exported model, which holds its own'):
        AVSInferencer(path, checkpoint)
    model = load_exported_model(path)
    with pytest.raises(ValueError, match=r"frames have the size \(32, 32\)"):
        model([dict(frames=torch.zeros(1, 3, 32, 32))], [AVSDataSample()])
    for module in ('onnx', 'onnxruntime'):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(ImportError, match='pip install onnx onnxruntime'):
                export_model(config, checkpoint, 'onnx', tmp_path / 'x.onnx')


def test_files_of_others_are_refused(exported, tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no such file'):
        load_exported_model(tmp_path / 'missing.onnx')
    for name, match in (('x.onnx', 'ONNX Runtime cannot read it'), ('x.pt', 'PyTorch cannot read it')):
        (tmp_path / name).write_bytes(b'no model')
        with pytest.raises(ValueError, match=match):
            load_exported_model(tmp_path / name)
    torch.save(dict(weight=torch.zeros(1)), tmp_path / 'weights.pt')
    with pytest.raises(ValueError, match='weights are opened by init_model'):
        load_exported_model(tmp_path / 'weights.pt')
    foreign = torch.jit.trace(torch.nn.Identity(), torch.zeros(1))
    foreign.save(str(tmp_path / 'foreign.pt'))
    with pytest.raises(ValueError, match='holds no description by mmavs'):
        load_exported_model(tmp_path / 'foreign.pt')


def test_a_pipeline_in_a_file_names_only_transforms_that_an_export_writes(exported, tmp_path):
    metadata = dict(load_exported_model(exported('TPAVI', 'torchscript').path).metadata)
    for pipeline in ([dict(type='os.system', command='x')],
                     [dict(type='ClipBroadcaster', transforms=[dict(type='subprocess.run', args='x')])]):
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.trace(torch.nn.Identity(), torch.zeros(1)), buffer,
                       _extra_files={METADATA_KEY: json.dumps(dict(metadata, pipeline=pipeline))})
        (tmp_path / 'x.pt').write_bytes(buffer.getvalue())
        with pytest.raises(ValueError, match='its pipeline has the transform .(os.system|subprocess.run)., expected'):
            load_exported_model(tmp_path / 'x.pt')
