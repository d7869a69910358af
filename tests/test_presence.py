"""The presence score of a frame: what it learns from, and the masks that it removes."""
import pytest
import torch
from small_models import audio_sensitive_model, make_clip, predict

from mmavs.models.layers import lower_foreground
from mmavs.models.segmentors import AudioPresence
from mmavs.registry import MODELS
from mmavs.structures import FrameTargets


def presence_of(logits, threshold=0.5):
    """An AudioPresence whose logits are given."""
    presence = AudioPresence((4, 8), 6, embed_dims=4, threshold=threshold)
    presence.forward = lambda features, audio: torch.tensor(logits)
    return presence


def foreground(scores):
    return scores[:, 0].sigmoid() if scores.shape[1] == 1 else scores.softmax(1)[:, 1:].sum(1)


@pytest.mark.parametrize('num_classes', [1, 2, 4])
def test_foreground_is_multiplied_by_the_factor(num_classes):
    scores, factor = torch.randn(2, num_classes, 3, 3) * 3, torch.tensor([0.25, 1.])
    lowered = lower_foreground(scores, factor.log()[:, None, None])
    torch.testing.assert_close(foreground(lowered), foreground(scores) * factor[:, None, None])
    # Of the classes of the foreground, the order remains.
    assert torch.equal(lowered[:, 1:].argsort(1), scores[:, 1:].argsort(1))


@pytest.mark.parametrize('threshold', [0.2, 0.5, 0.8])
def test_a_frame_below_the_threshold_has_no_mask_and_others_keep_theirs(threshold):
    scores = torch.tensor([9., 5., -3.]).view(1, 1, 1, 3).repeat(2, 1, 1, 1)
    below, above = (torch.logit(torch.tensor(threshold + step)).item() for step in (-0.1, 0.1))
    gated = presence_of([below, above], threshold).gate(scores, [], None)
    torch.testing.assert_close(gated[1], scores[1])
    assert (gated[0] < 0).all()
    # The map keeps its order: it is lowered, not erased.
    assert gated[0, 0, 0].argsort(descending=True).tolist() == [0, 1, 2]


def test_target_is_whether_a_labelled_pixel_sounds():
    masks = torch.zeros(4, 2, 2, dtype=torch.uint8)
    masks[0, 0, 0], masks[1], masks[3] = 3, 255, 1
    targets = FrameTargets(masks, torch.tensor([True, True, True, False]))
    right = presence_of([20., -20., -20., -20.]).loss([], None, targets)
    assert right < 1e-6
    wrong = presence_of([20., 20., -20., -20.]).loss([], None, targets)
    torch.testing.assert_close(wrong, torch.tensor(20 / 3))


def test_score_depends_on_the_audio_and_the_image():
    torch.manual_seed(0)
    presence = AudioPresence((4, 8), 6)
    maps, audio = [torch.randn(2, 4, 4, 4), torch.randn(2, 8, 2, 2)], torch.randn(2, 1, 6)
    scores = presence(maps, audio)
    assert scores.shape == (2, )
    assert (presence(maps, audio.flip(0)) - scores).abs().min() > 1e-4
    assert (presence([maps[0], maps[1].flip(0)], audio) - scores).abs().min() > 1e-4


def test_model_removes_the_masks_of_frames_without_presence():
    model = audio_sensitive_model()
    clip = make_clip(model, 3)
    plain, = predict(model, clip)
    model.presence = MODELS.build(dict(type='AudioPresence', in_channels=(8, 8), audio_channels=8))
    model.presence.forward = lambda features, audio: torch.tensor([9., -9., 9.])
    gated, = predict(model, clip)
    assert torch.equal(gated.foreground_prob[::2], plain.foreground_prob[::2])
    # sigmoid(-9) = 1.2e-4; not exactly, because scores are resized after that.
    assert gated.foreground_prob[1].max() < 2e-4 < plain.foreground_prob[1].max()
    assert not gated.pred_sem_seg[1].any()


def test_threshold_outside_of_the_probabilities_is_refused():
    with pytest.raises(ValueError, match='threshold is 1.0'):
        AudioPresence((4, ), 6, threshold=1.0)
