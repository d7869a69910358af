"""The segmentor of all methods: a visual branch, an audio branch and a head."""
from collections.abc import Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor

from mmavs.registry import MODELS
from mmavs.structures import DEFAULT_OUTPUTS, AVSDataSample, FrameTargets, check_outputs, select_frames

from .clip_prediction import ClipPrediction

# Independent frames that are predicted at once: as many as a clip of AVSBench-semantic has. Longer clips take no more
# memory than that.
MAX_FRAMES = 10


@MODELS.register_module()
class AudioVisualSegmentor(BaseModel):
    """Segment the sounding objects of clips.

    The visual branch, ``backbone`` (and ``mask_prior``), encodes N frames; the audio branch, ``audio_backbone``, the
    audio of each clip. The head gets the visual pyramid, the audio tokens of each frame, and the flags ``valid`` of the
    B clips of T frames. A backbone with the class attribute ``uses_audio = True`` (default False) also gets the audio
    tokens (N, tokens, C) of the frames, and returns an :class:`AudioGuidedPyramid`.

    Args:
        backbone: Config of the image backbone; returns a pyramid of (N, C_l, h_l, w_l).
        audio_backbone: Config of the audio backbone; called with ``waveform`` (B, L) or ``log_mel`` (B, n, 1, 96, 64)
            and T, and with ``num_samples`` (B,), the recorded samples of the waveforms, if the clips have it; returns
            (B, T, tokens, C).
        decode_head: Config of the head.
        mask_prior: Config of the :class:`MaskPriorBranch`, for methods that need one.
        independent_frames: Whether the head treats frames independently. Then padding frames are not computed, nor, in
            training, frames without ground truth; the head gets each frame as a clip of length 1. Exact only if nothing
            else in the network mixes frames (no batch statistics). Predictions take ``MAX_FRAMES`` frames at a time.
        outputs: Fields of the data samples that ``mode='predict'`` fills in by default, see :class:`AVSDataSample`. The
            scores ``seg_logits`` are not among them: 71 classes of one frame of 1920x1080 take 590 MB.
        presence: Config of an :class:`AudioPresence`, which predicts whether a visible object sounds, and removes the
            masks of frames in which none does; None for none.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Initialization config of MMEngine.

    ``model(inputs, data_samples, mode)`` takes the batch that :class:`AVSDataPreprocessor` makes.

    A ValueError says if the weights are not of the type of the frames, float32.

    - ``mode='loss'``: dict of named loss terms.
    - ``mode='predict'``: the data samples with the fields ``outputs`` filled in; ``outputs`` and ``prob_dtype`` may be
      passed as for :meth:`predict`.
    - ``mode='tensor'``: the raw outputs of the head, a dict documented there. N is the number of frames in the batch;
      with ``independent_frames``, of those that are not padding.
    """

    def __init__(self,
                 backbone: dict,
                 audio_backbone: dict,
                 decode_head: dict,
                 mask_prior: dict | None = None,
                 independent_frames: bool = False,
                 outputs: Sequence[str] = DEFAULT_OUTPUTS,
                 presence: dict | None = None,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(data_preprocessor or dict(type='AVSDataPreprocessor'), init_cfg)
        self.backbone = MODELS.build(backbone)
        self.mask_prior = MODELS.build(mask_prior) if mask_prior else None
        self.audio_backbone = MODELS.build(audio_backbone)
        self.decode_head = MODELS.build(decode_head)
        self.presence = MODELS.build(presence) if presence else None
        self.independent_frames = independent_frames
        self.outputs = check_outputs(outputs)

    def forward(self,
                inputs: dict[str, Tensor],
                data_samples: list[AVSDataSample] | None = None,
                mode: str = 'tensor',
                **options) -> dict | list[AVSDataSample]:
        self._check_precision(inputs['frames'])
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples, **options)
        if mode == 'tensor':
            return self.decode_head(*self.extract_features(inputs, self._frames_to_compute(_existing(inputs))))
        raise ValueError(f"mode is {mode!r}, expected 'loss', 'predict' or 'tensor'")

    def test_step(self, data: dict) -> list[AVSDataSample]:
        """Predict the clips of a batch of a data loader, each as it is predicted alone.

        Clips of different sizes, lengths or audio are predicted one kind after the other, because padding would change
        their predictions.
        """
        predictions = {}
        for indices, batch in self.data_preprocessor.split(data):
            predictions.update(zip(indices, self(**self.data_preprocessor(batch), mode='predict')))
        return [predictions[index] for index in range(len(predictions))]

    def val_step(self, data: dict) -> list[AVSDataSample]:
        """Predict the clips of a batch as :meth:`test_step` does."""
        return self.test_step(data)

    def _check_precision(self, frames: Tensor) -> None:
        """Raise a ValueError if the weights have another type than the frames, for example after ``model.half()``."""
        for part in (self.backbone, self.mask_prior, self.audio_backbone, self.decode_head, self.presence):
            weight = next(part.parameters(), None) if part is not None else None
            if weight is not None and weight.is_floating_point() and weight.dtype != frames.dtype:
                raise ValueError(f'the weights of the model are {weight.dtype}, its inputs {frames.dtype}: models of '
                                 'mmavs keep their weights in float32; undo half(), bfloat16() or double() by '
                                 'model.float(), and compute in less precision with torch.autocast')

    def loss(self, inputs: dict[str, Tensor], data_samples: list[AVSDataSample]) -> dict[str, Tensor]:
        """Named loss terms of a batch."""
        labelled = _stack_padded([sample.labelled.cpu() for sample in data_samples], inputs['frames'].shape[1])
        frames = self._frames_to_compute(labelled)
        pyramid, audio, valid = self.extract_features(inputs, frames)
        targets = self._frame_targets(inputs, data_samples, labelled, frames)
        losses = self.decode_head.loss(pyramid, audio, valid, targets)
        if self.presence is not None:
            losses['loss_presence'] = self.presence.loss(pyramid, audio, targets)
        return losses

    def predict(self,
                inputs: dict[str, Tensor],
                data_samples: list[AVSDataSample] | None = None,
                outputs: Sequence[str] | None = None,
                prob_dtype: torch.dtype = torch.float32) -> list[AVSDataSample]:
        """Fill in the predictions of each clip, at the size ``out_shape`` of its data sample.

        Args:
            inputs: The preprocessed batch.
            data_samples: The clips; None makes data samples of the size of the network input.
            outputs: Names of the fields to fill in, see :class:`AVSDataSample`; None for those of the constructor.
            prob_dtype: Type of ``foreground_prob``, see :class:`ClipPrediction`.

        Raises:
            ValueError: A score is NaN.
        """
        num_clips, num_frames, _, height, width = inputs['frames'].shape
        if data_samples is None:
            data_samples = [
                AVSDataSample(metainfo=dict(img_shape=(height, width), out_shape=(height, width)))
                for _ in range(num_clips)
            ]
        lengths = [len(sample.valid) if 'valid' in sample else num_frames for sample in data_samples]
        predictions = [
            ClipPrediction(sample, length, self.decode_head.num_classes, (height, width),
                           self.outputs if outputs is None else outputs, prob_dtype, inputs['frames'].device)
            for sample, length in zip(data_samples, lengths)
        ]
        existing = _existing(inputs)
        audio = self._encode_audio(inputs)
        for frames in self._frame_chunks(self._frames_to_compute(existing), existing.numel()):
            logits = self.predict_scores(*self._encode_frames(inputs, audio, frames), (height, width))
            indices = range(existing.numel()) if frames is None else frames.tolist()
            # The labels of NaN are the background, and would be scored as such. Without values there are none.
            holds_nan = [False] * len(logits) if logits.is_meta else logits.flatten(1).isnan().any(1).tolist()
            for index, scores, bad in zip(indices, logits, holds_nan):
                clip, frame = divmod(index, num_frames)
                if existing[clip, frame] and frame < lengths[clip]:
                    if bad:
                        name = data_samples[clip].get('clip_id', clip)
                        raise ValueError(f'the scores of frame {frame} of clip {name!r} are NaN: '
                                         'the weights are damaged or their training has diverged, or the '
                                         'scores exceed the range of the type that the model computes in')
                    predictions[clip].add_frame(frame, scores)
        return data_samples

    def predict_scores(self, features: tuple[Tensor, ...], audio: Tensor, valid: Tensor,
                       input_shape: tuple[int, int]) -> Tensor:
        """Scores (N, K, h, w) of the head, without foreground in frames that :class:`AudioPresence` finds empty.

        Args:
            features: The visual pyramid of N frames.
            audio: Audio tokens (N, tokens, C).
            valid: (B, T) bool, which frames exist.
            input_shape: (H, W) of the network input.
        """
        scores = self.decode_head.predict(features, audio, valid, input_shape)
        return scores if self.presence is None else self.presence.gate(scores, features, audio)

    def extract_features(self, inputs: dict[str, Tensor],
                         frames: Tensor | None) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """The visual pyramid, the audio tokens (N, tokens, C) and ``valid`` of the chosen frames.

        ``valid`` is (B, T) bool on the CPU, False for padding. With chosen frames it is (N, 1) and True, because each
        frame is then a clip of length 1.

        Args:
            inputs: The preprocessed batch.
            frames: (N,) indices of the frames to compute among the B * T of the batch; None for all of them.
        """
        return self._encode_frames(inputs, self._encode_audio(inputs), frames)

    def _encode_audio(self, inputs: dict[str, Tensor]) -> Tensor:
        """Audio tokens of all frames, (B, T, tokens, C)."""
        audio_input = inputs['waveform'] if 'waveform' in inputs else inputs['log_mel']
        num_samples = {key: inputs[key] for key in ('num_samples', ) if key in inputs}
        return self.audio_backbone(audio_input, inputs['frames'].shape[1], **num_samples)

    def _encode_frames(self, inputs: dict[str, Tensor], audio: Tensor,
                       frames: Tensor | None) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """Return :meth:`extract_features`, given the audio tokens (B, T, tokens, C)."""

        def choose(x: Tensor) -> Tensor:
            x = x.flatten(0, 1)
            return x if frames is None else select_frames(x, frames)

        audio = choose(audio)
        mask_prior = choose(inputs['mask_prior']) if 'mask_prior' in inputs else None
        features = self.extract_pyramid(choose(inputs['frames']), audio, mask_prior)
        valid = _existing(inputs) if frames is None else torch.ones(len(frames), 1, dtype=torch.bool)
        return features, audio, valid

    def extract_pyramid(self, frames: Tensor, audio: Tensor, mask_prior: Tensor | None) -> tuple[Tensor, ...]:
        """The visual pyramid, from frames (N, 3, H, W), audio tokens (N, tokens, C), and mask priors (N, 3, H, W)."""
        # Backbones of other libraries do not declare uses_audio.
        audio_guidance = (audio, ) if getattr(self.backbone, 'uses_audio', False) else ()
        features = self.backbone(frames, *audio_guidance)
        if self.mask_prior is None:
            return features
        if mask_prior is None:
            raise ValueError('this model has a mask-prior branch, but the inputs hold no mask_prior: load mask '
                             'priors in the pipeline, or use the config of the same name without mask-prior')
        return self.mask_prior(mask_prior, features)

    def _frame_chunks(self, frames: Tensor | None, num_frames: int) -> Sequence[Tensor | None]:
        """Split the frames to compute, of ``num_frames`` in the batch, if they are independent."""
        count = num_frames if frames is None else len(frames)
        if not self.independent_frames or count <= MAX_FRAMES:
            return [frames]
        return (torch.arange(num_frames) if frames is None else frames).split(MAX_FRAMES)

    def _frames_to_compute(self, needed: Tensor) -> Tensor | None:
        """Indices of the ``needed`` frames, from (B, T) bool; None to compute all B * T frames.

        If no frame is needed, all are computed: backbones do not accept empty batches, and in distributed training
        every parameter has to take part in every step.
        """
        if not self.independent_frames or needed.all() or not needed.any():
            return None
        return needed.flatten().nonzero().squeeze(1)

    @staticmethod
    def _frame_targets(inputs: dict[str, Tensor], data_samples: list[AVSDataSample], labelled: Tensor,
                       frames: Tensor | None) -> FrameTargets:
        num_frames = inputs['frames'].shape[1]
        masks = _stack_padded([sample.gt_sem_seg for sample in data_samples], num_frames, value=255).flatten(0, 1)
        events = None
        if 'gt_events' in data_samples[0]:
            events = _stack_padded([sample.gt_events for sample in data_samples], num_frames).flatten(0, 1)
        targets = FrameTargets(masks=masks, labelled=labelled.flatten(), events=events)
        return targets if frames is None else targets.select(frames)


def _existing(inputs: dict[str, Tensor]) -> Tensor:
    """Flags of the frames of the batch that are not padding: (B, T) bool on the CPU."""
    return inputs.get('valid', torch.ones(inputs['frames'].shape[:2], dtype=torch.bool)).cpu()


def _stack_padded(tensors: list[Tensor], length: int, value: int = 0) -> Tensor:
    """Stack tensors of (t, ...) to (B, length, ...), padded with ``value``."""
    if all(len(x) == length for x in tensors):
        return torch.stack(tensors)
    stacked = tensors[0].new_full((len(tensors), length, *tensors[0].shape[1:]), value)
    for row, x in zip(stacked, tensors):
        row[:len(x)] = x
    return stacked
