"""The segmentor of all methods: a visual branch, an audio branch and a head."""
from collections.abc import Callable, Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from mmavs.registry import MODELS
from mmavs.structures import DEFAULT_OUTPUTS, AVSDataSample, FrameTargets, check_outputs, select_frames
from mmavs.utils.precision import autocast_to, check_precision, keep_norms_in_float32

from .clip_prediction import ClipPrediction

# Independent frames that are predicted at once: as many as a clip of AVSBench-semantic has. Longer clips take no more
# memory than that.
MAX_FRAMES = 10


@MODELS.register_module()
class AudioVisualSegmentor(BaseModel):
    """Segment the sounding objects of clips.

    The visual branch, ``backbone`` (and ``mask_prior``), encodes N frames; the audio branch, ``audio_backbone``, the
    audio of each clip. The head gets the visual pyramid, the audio tokens of each frame, and the flags ``valid`` of the
    B clips of T frames; in a prediction None if all frames exist and are one clip, or are independent. A backbone with
    the class attribute ``uses_audio = True`` (default False) also gets the audio tokens (N, tokens, C) of the frames,
    and returns an :class:`AudioGuidedPyramid`.

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
        with_cp: Gradient checkpointing of every part that has the option ``with_cp``: the backward pass computes
            activations a second time instead of keeping them, which saves memory and takes time. Parts that a config
            checkpoints alone have the option themselves.
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
                 with_cp: bool = False,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(data_preprocessor or dict(type='AVSDataPreprocessor'), init_cfg)
        self.backbone = MODELS.build(backbone)
        self.mask_prior = MODELS.build(mask_prior) if mask_prior else None
        self.audio_backbone = MODELS.build(audio_backbone)
        self.decode_head = MODELS.build(decode_head)
        self.presence = MODELS.build(presence) if presence else None
        self.independent_frames = independent_frames
        self.precision = torch.float32
        self._norm_hooks: list[RemovableHandle] = []
        self._compiled_scores: Callable[..., Tensor] | None = None
        self.outputs = check_outputs(outputs)
        if with_cp:
            # Also blocks of the backbones of other libraries.
            for module in self.modules():
                if hasattr(module, 'with_cp'):
                    module.with_cp = True

    def accelerate(self, precision: str = 'fp32', compile: bool = False) -> None:
        """Choose how :meth:`predict` computes; training does not change.

        With a half precision the weights stay float32, and autocast computes matrix products, attention and
        convolutions in it. Float32 remain: the audio front end, layer and group norms and with them the sums of
        residual branches, sampling locations of deformable attention, the logits that masks and pixel groups are
        decided by, and class scores.

        Args:
            precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``.
            compile: Whether ``torch.compile`` compiles :meth:`score_frames`, as one graph for any number of frames
                from 2 on (and another one for a single frame). The first prediction of a size takes a minute or more.

        Raises:
            ValueError: There is no such precision.
        """
        self.precision = check_precision(precision)
        for handle in self._norm_hooks:
            handle.remove()
        self._norm_hooks = keep_norms_in_float32(self) if self.precision != torch.float32 else []
        self._compiled_scores = torch.compile(self.score_frames, fullgraph=True) if compile else None

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
                                 'model.float(), and predict in less precision by init_model(..., precision=), or with '
                                 'torch.autocast')

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
        with autocast_to(self.precision, inputs['frames']):
            audio = self._encode_audio(inputs)
        for frames in self._frame_chunks(self._frames_to_compute(existing), existing.numel()):
            with autocast_to(self.precision, inputs['frames']):
                logits = self._predict_scores(inputs, audio, frames, existing)
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

    def score_frames(self,
                     frames: Tensor,
                     audio: Tensor,
                     mask_prior: Tensor | None = None,
                     valid: Tensor | None = None) -> Tensor:
        """Scores (N, K, H, W) of frames, without branches on the values of tensors: what is compiled and exported.

        Frames that :class:`AudioPresence` finds empty have no foreground.

        Args:
            frames: Normalized frames (N, 3, H, W).
            audio: Audio tokens (N, tokens, C).
            mask_prior: Normalized mask priors (N, 3, H, W), for models that need them.
            valid: (B, T) bool with B * T = N, which frames exist; None: all, and they are one clip or independent.
        """
        features = self.extract_pyramid(frames, audio, mask_prior)
        scores = self.decode_head.predict(features, audio, valid, tuple(map(int, frames.shape[-2:])))
        return scores if self.presence is None else self.presence.gate(scores, features, audio)

    def _predict_scores(self, inputs: dict[str, Tensor], audio: Tensor, frames: Tensor | None,
                        existing: Tensor) -> Tensor:
        """:meth:`score_frames` of the chosen frames, see :meth:`extract_features`; compiled if it is requested."""
        tensors = [inputs['frames'], audio, inputs.get('mask_prior')]
        tensors = [None if x is None else _choose(x, frames) for x in tensors]
        needs_clips = not self.independent_frames and (len(existing) > 1 or not existing.all())
        valid = existing if needs_clips else None
        if self._compiled_scores is None:
            return self.score_frames(*tensors, valid)
        for x in tensors:
            if x is not None:
                torch._dynamo.maybe_mark_dynamic(x, 0)
        return self._compiled_scores(*tensors, valid)

    def extract_features(self, inputs: dict[str, Tensor],
                         frames: Tensor | None) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """The visual pyramid, the audio tokens (N, tokens, C) and ``valid`` of the chosen frames.

        ``valid`` is (B, T) bool on the CPU, False for padding. With chosen frames it is (N, 1) and True, because each
        frame is then a clip of length 1.

        Args:
            inputs: The preprocessed batch.
            frames: (N,) indices of the frames to compute among the B * T of the batch; None for all of them.
        """
        audio = _choose(self._encode_audio(inputs), frames)
        mask_prior = _choose(inputs['mask_prior'], frames) if 'mask_prior' in inputs else None
        features = self.extract_pyramid(_choose(inputs['frames'], frames), audio, mask_prior)
        valid = _existing(inputs) if frames is None else torch.ones(len(frames), 1, dtype=torch.bool)
        return features, audio, valid

    def _encode_audio(self, inputs: dict[str, Tensor]) -> Tensor:
        """Audio tokens of all frames, (B, T, tokens, C)."""
        audio_input = inputs['waveform'] if 'waveform' in inputs else inputs['log_mel']
        num_samples = {key: inputs[key] for key in ('num_samples', ) if key in inputs}
        return self.audio_backbone(audio_input, inputs['frames'].shape[1], **num_samples)

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


def _choose(x: Tensor, frames: Tensor | None) -> Tensor:
    """Frames (N, ...) of x (B, T, ...) by their indices (N,); None: all."""
    x = x.flatten(0, 1)
    return x if frames is None else select_frames(x, frames)


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
