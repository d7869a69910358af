"""EASE: queries in the last blocks of the backbone, audio fusion, masked attention, and its training."""
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from small_models import make_clip, predict, small_config
from torch import nn

from mmavs.engine import ParamRulesOptimWrapperConstructor
from mmavs.engine.optimizers import TwoStageWarmupPolyLR
from mmavs.models.decode_heads.ease_audio import AudioEnhancer, AudioFuser, ClusterAssignment
from mmavs.registry import MODELS
from mmavs.structures import BlockFeatures
from mmavs.utils.config import load_config

CONFIGS = Path(__file__).parents[1] / 'configs'
TINY = CONFIGS / 'ease/ease_tiny_synthetic-ms3.py'


def build_tiny(**head) -> nn.Module:
    torch.manual_seed(0)
    config = small_config(TINY)
    config.decode_head.update(head)
    return MODELS.build(config)


def dense_fusion(fuser: AudioFuser, x: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The fusion with every projection of every patch, as its description has it."""
    def attend(projections, query, key, normalize):
        q, k, v = (proj(y).unflatten(2, (8, -1)).transpose(1, 2) for proj, y in (
            (projections.q_proj, query), (projections.k_proj, key), (projections.v_proj, key)))
        weights = normalize(q @ k.transpose(2, 3) * q.shape[3]**-0.5)
        return (weights @ v).transpose(1, 2).flatten(2)

    centers = fuser.clusters.centers
    clustered = (x @ centers.T).softmax(2) @ centers
    audio = fuser.audio_proj(tokens)
    context = attend(fuser.audio_attn, audio, clustered, lambda logits: logits.softmax(3))
    vector = (fuser.weight(context).softmax(1) * audio).sum(1, keepdim=True)
    return x + attend(fuser.patch_attn, x, vector, torch.sigmoid)


@pytest.mark.parametrize('audio_dims', [16, 32])
def test_fusion_equals_that_with_every_projection(audio_dims):
    torch.manual_seed(0)
    fuser = AudioFuser(audio_dims, 32, noise_in_evaluation=False).eval()
    x, tokens = torch.randn(2, 12, 32), torch.randn(2, 5, audio_dims)
    torch.testing.assert_close(fuser(x, tokens), dense_fusion(fuser, x, tokens), rtol=1e-4, atol=1e-5)
    assert (fuser(x, tokens) - x).abs().max() > 0.01


def test_audio_tokens_are_of_the_clusters_with_the_largest_shares():
    torch.manual_seed(0)
    enhancer = AudioEnhancer(8, 16, num_clusters=9, noise_in_evaluation=False).eval()
    audio = torch.randn(3, 1, 8)
    t = enhancer.audio_proj(audio[:, 0])
    largest = (t @ enhancer.clusters.centers.T).topk(5).indices
    before = enhancer(audio)
    others = torch.tensor([[k for k in range(9) if k not in row] for row in largest.tolist()])
    assert before.shape == (3, 5, 16)
    # Only the chosen centers change the tokens directly; the others enter the normalization of the shares.
    grads, = torch.autograd.grad(enhancer(audio)[0].sum(), enhancer.clusters.centers)
    assert grads[largest[0]].norm(dim=1).min() > 3 * grads[others[0]].norm(dim=1).max()


@pytest.mark.parametrize('noise_in_evaluation', [False, True])
def test_noise_of_the_assignment_is_that_of_training_unless_evaluation_asks_for_it(noise_in_evaluation):
    torch.manual_seed(0)
    assign, x = ClusterAssignment(7, 4, noise_in_evaluation), torch.randn(5, 4)
    exact = (x @ assign.centers.T).softmax(1)
    assert torch.equal(assign.eval()(x), exact) == (not noise_in_evaluation)
    # Gumbel-softmax: the largest entry is a sample of the softmax.
    many = assign.train()(x[:1].expand(20000, -1)).argmax(1)
    torch.testing.assert_close(torch.bincount(many, minlength=7) / 20000, exact[0].detach(), atol=0.012, rtol=0)


def test_released_evaluation_differs_from_run_to_run_and_the_default_does_not():
    model = build_tiny()
    clip = make_clip(model, 2)
    first, second = (predict(model, clip)[0].seg_logits for _ in range(2))
    assert torch.equal(first, second)
    released = build_tiny(assignment='gumbel')
    released.load_state_dict(model.state_dict())
    first, second = (predict(released, clip)[0].seg_logits for _ in range(2))
    assert not torch.equal(first, second)


class RecordingBlocks:
    """Features of a backbone without weights, which keep what the head gives to each block."""

    def __init__(self, num_frames=2, channels=64, grid=(3, 4), num_prefix=2, num_blocks=6, first=3):
        torch.manual_seed(1)
        self.tokens = torch.randn(num_frames, num_prefix + grid[0] * grid[1], channels)
        self.seen = []
        self.features = BlockFeatures(self.tokens, grid, first, num_blocks, self.run, nn.Identity())

    def run(self, index, x, attend):
        self.seen.append((index, x, attend))
        return x


def make_head(**options):
    torch.manual_seed(0)
    init_default_scope('mmavs')
    config = dict(
        type='EASEHead', num_classes=3, embed_dims=64, audio_channels=8, criterion=dict(type='SetCriterion'),
        fusion_blocks=(3, 5), num_queries=7, num_query_blocks=2, audio_dims=32, num_clusters=6, ffn_dims=16)
    return MODELS.build(config | options)


def test_queries_join_in_front_and_audio_changes_the_patches_only():
    head, blocks = make_head().eval(), RecordingBlocks()
    outputs = head(blocks.features, torch.randn(2, 1, 8), None)
    assert [index for index, _, _ in blocks.seen] == [3, 4, 5]
    (_, third, _), (_, fourth, _), (_, fifth, _) = blocks.seen
    torch.testing.assert_close(third[:, :2], blocks.tokens[:, :2])  # class and register tokens pass
    assert (third[:, 2:] - blocks.tokens[:, 2:]).abs().amax(2).min() > 0
    torch.testing.assert_close(fourth[:, 7:], third)  # no fusion before block 4
    torch.testing.assert_close(fourth[:, :7], head.query_embed.weight + outputs['queries'])
    torch.testing.assert_close(fifth[:, :9], fourth[:, :9])
    assert all(attend is None for _, _, attend in blocks.seen)
    assert outputs['mask_logits'].shape == (2, 7, 12, 16) and 'aux' not in outputs


def test_in_training_queries_attend_to_the_patches_inside_of_their_masks():
    head, blocks = make_head().train(), RecordingBlocks()
    outputs = head(blocks.features, torch.randn(2, 1, 8), None)
    assert len(outputs['aux']) == 2 and blocks.seen[0][2] is None
    for (_, x, attend), (_, masks) in zip(blocks.seen[1:], outputs['aux']):
        inside = nn.functional.interpolate(masks, (3, 4), mode='bilinear', align_corners=False).flatten(2) > 0
        assert attend.shape == (2, 1, x.shape[1], x.shape[1])
        assert torch.equal(attend[:, 0, :7, 9:], inside) and 0 < inside.float().mean() < 1
        assert attend[:, 0, 7:].all() and attend[:, 0, :7, :9].all()


def test_masked_attention_is_annealed_block_by_block():
    head = make_head(mask_annealing=((0.2, 0.5), (0.4, 0.9)))
    found = []
    for head.progress in (0., 0.2, 0.3, 0.4, 0.7, 0.9, 1.):
        found.append([head.mask_probability(block) for block in range(2)])
    expected = [[1, 1], [1, 1], [0.5**0.9, 1], [0, 1], [0, 0.5**0.9], [0, 0], [0, 0]]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected, dtype=torch.float32), atol=1e-6, rtol=0)
    head.progress = 0.3
    blocks = RecordingBlocks(num_frames=100)
    masks = head.train()(blocks.features, torch.randn(100, 1, 8), None)['aux'][0][1]
    partial = (nn.functional.interpolate(masks, (3, 4), mode='bilinear', align_corners=False) <= 0).flatten(2).any(2)
    free = blocks.seen[1][2][:, 0, :7, 9:].all(2)[partial].float().mean().item()
    assert abs(free - (1 - 0.5**0.9)) < 0.08
    head.progress = 1.
    blocks.seen.clear()
    head(blocks.features, torch.randn(100, 1, 8), None)
    assert all(attend.all() for _, _, attend in blocks.seen[1:])


@pytest.mark.parametrize('options,message', [
    (dict(assignment='hard'), "assignment is 'hard', expected 'softmax' or 'gumbel'"),
    (dict(mask_annealing=((0.1, ), (0.2, ))), 'in each of num_query_blocks=2 blocks'),
])
def test_unusable_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_head(**options)


def test_blocks_that_the_backbone_does_not_hand_out_are_named():
    head = make_head(fusion_blocks=(2, 5))
    with pytest.raises(ValueError, match=r'need the blocks 2 to 5, and the backbone has 6 and leaves 3 to 5'):
        head(RecordingBlocks().features, torch.randn(2, 1, 8), None)
    with pytest.raises(ValueError, match=r'embed_dims is 64, the tokens of the backbone have 32 channels'):
        head(RecordingBlocks(channels=32).features, torch.randn(2, 1, 8), None)
    with pytest.raises(ValueError, match='EASEHead runs the last blocks of the backbone, and got tuple'):
        head((torch.zeros(2, 64, 3, 4), ), torch.randn(2, 1, 8), None)


@pytest.mark.parametrize('norm_first', [False, True])
def test_late_fusion_precedes_the_last_norm_or_follows_it(norm_first):
    head, blocks, order = make_head(norm_before_late_fusion=norm_first).eval(), RecordingBlocks(), []
    blocks.features.norm = lambda x: order.append('norm') or x
    head.fuser.register_forward_hook(lambda *args: order.append('fusion'))
    head(blocks.features, torch.randn(2, 1, 8), None)
    assert order == ['fusion', 'fusion', *(['norm', 'fusion'] if norm_first else ['fusion', 'norm'])]


def schedule_of(name):
    return load_config(str(CONFIGS / f'ease/{name}.py'))


def test_learning_rates_decay_from_the_blocks_of_the_head_to_the_patches():
    config = schedule_of('ease_dinov3-b_s4')
    model = MODELS.build(small_config(CONFIGS / 'ease/ease_dinov3-b_s4.py'))
    rules = ParamRulesOptimWrapperConstructor(
        dict(optimizer=config.optim_wrapper.optimizer), config.optim_wrapper.paramwise_cfg)
    groups = rules.parameter_groups(model)
    found = {id(p): (group['lr'] / 2e-4, group.get('name')) for group in groups for p in group['params']}
    assert {group['weight_decay'] for group in groups} == {0.05}
    for name, parameter in model.named_parameters():
        if name.startswith('audio_backbone.'):
            assert id(parameter) not in found
            continue
        factor, group = found[id(parameter)]
        parts = name.split('.')
        expected = 1.
        if name.startswith('backbone.embeddings.'):
            expected = 0.8**11
        elif name.startswith('backbone.blocks.') and int(parts[2]) < 8:
            expected = 0.8**(11 - int(parts[2]))
        assert factor == pytest.approx(expected), name
        assert (group == 'backbone.') == name.startswith('backbone.'), name


def test_backbone_warms_up_after_the_new_modules():
    new, backbone = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([dict(params=[new], lr=2.), dict(params=[backbone], lr=1., name='backbone.')])
    scheduler = TwoStageWarmupPolyLR(optimizer, warmup=4, delayed_warmup=6, begin=0, end=31)
    found = []
    for _ in range(30):
        found.append([group['lr'] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    for step, rates in enumerate(found):
        first = step / 4 if step < 4 else (1 - (step - 4) / 26)**0.9
        second = 0 if step < 4 else (step - 4) / 6 if step < 10 else (1 - (step - 10) / 20)**0.9
        assert rates == pytest.approx([2 * first, second]), step


def test_schedule_without_the_named_group_says_what_to_set():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.)
    with pytest.raises(ValueError, match=r"no group of parameters is named 'backbone\.'.*named_groups"):
        TwoStageWarmupPolyLR(optimizer, 1, 1, end=10)
    with pytest.raises(ValueError, match=r'warmup=5 and delayed_warmup=4 take 9 of 9 steps'):
        TwoStageWarmupPolyLR(optimizer, 5, 4, end=10)


@pytest.mark.parametrize('name,max_iters,batch_size', [
    ('ease_dinov3-b_s4', 36 * (3452 // 12), 12),
    ('ease_dinov3-l-384_ms3', 72 * (296 // 4), 4),
    ('ease_pvt-v2-b5-384_avss', 36 * (52432 // 25), 25),
])
def test_length_of_training_is_that_of_the_published_epochs(name, max_iters, batch_size):
    config = schedule_of(name)
    assert config.train_cfg.max_iters == max_iters
    assert config.train_dataloader.batch_size == batch_size
    assert config.param_scheduler[0].end == max_iters + 1
    assert config.custom_hooks[-1].type == 'TrainingProgressHook'
