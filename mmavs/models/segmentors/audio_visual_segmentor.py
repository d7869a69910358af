"""The segmentor of all methods: a visual branch, an audio branch and a head."""
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor

from mmavs.registry import MODELS
from mmavs.structures import AVSDataSample, FrameTargets, select_frames


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
            else in the network mixes frames (no batch statistics).
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Initialization config of MMEngine.

    ``model(inputs, data_samples, mode)`` takes the batch that :class:`AVSDataPreprocessor` makes.

    - ``mode='loss'``: dict of named loss terms.
    - ``mode='predict'``: the data samples with ``pred_sem_seg``, ``seg_logits`` and ``foreground_prob`` filled in.
    - ``mode='tensor'``: the raw outputs of the head, a dict documented there. N is the number of frames in the batch;
      with ``independent_frames``, of those that are not padding.
    """

    def __init__(self,
                 backbone: dict,
                 audio_backbone: dict,
                 decode_head: dict,
                 mask_prior: dict | None = None,
                 independent_frames: bool = False,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(data_preprocessor or dict(type='AVSDataPreprocessor'), init_cfg)
        self.backbone = MODELS.build(backbone)
        self.mask_prior = MODELS.build(mask_prior) if mask_prior else None
        self.audio_backbone = MODELS.build(audio_backbone)
        self.decode_head = MODELS.build(decode_head)
        self.independent_frames = independent_frames

    def forward(self,
                inputs: dict[str, Tensor],
                data_samples: list[AVSDataSample] | None = None,
                mode: str = 'tensor') -> dict | list[AVSDataSample]:
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.decode_head(*self.extract_features(inputs, self._frames_to_compute(_existing(inputs))))
        raise ValueError(f"mode is {mode!r}, expected 'loss', 'predict' or 'tensor'")

    def loss(self, inputs: dict[str, Tensor], data_samples: list[AVSDataSample]) -> dict[str, Tensor]:
        """Named loss terms of a batch."""
        labelled = _stack_padded([sample.labelled.cpu() for sample in data_samples], inputs['frames'].shape[1])
        frames = self._frames_to_compute(labelled)
        features = self.extract_features(inputs, frames)
        return self.decode_head.loss(*features, self._frame_targets(inputs, data_samples, labelled, frames))

    def predict(self,
                inputs: dict[str, Tensor],
                data_samples: list[AVSDataSample] | None = None) -> list[AVSDataSample]:
        """Fill in the predictions of each clip, at the size ``out_shape`` of its data sample."""
        num_clips, num_frames, _, height, width = inputs['frames'].shape
        existing = _existing(inputs)
        frames = self._frames_to_compute(existing)
        logits = self.decode_head.predict(*self.extract_features(inputs, frames), (height, width))
        # The scores of padding frames are 0, which is background.
        if frames is not None:
            computed = logits
            logits = computed.new_zeros(num_clips * num_frames, *computed.shape[1:])
            logits[frames.to(logits.device)] = computed
        elif not existing.all():
            logits[~existing.flatten().to(logits.device)] = 0
        if data_samples is None:
            data_samples = [
                AVSDataSample(metainfo=dict(img_shape=(height, width), out_shape=(height, width)))
                for _ in range(num_clips)
            ]
        for sample, clip_logits in zip(data_samples, logits.unflatten(0, (num_clips, num_frames))):
            length = len(sample.valid) if 'valid' in sample else num_frames
            self._fill_predictions(sample, clip_logits[:length], (height, width))
        return data_samples

    def extract_features(self, inputs: dict[str, Tensor],
                         frames: Tensor | None) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """The visual pyramid, the audio tokens (N, tokens, C) and ``valid`` of the chosen frames.

        ``valid`` is (B, T) bool on the CPU, False for padding. With chosen frames it is (N, 1) and True, because each
        frame is then a clip of length 1.

        Args:
            inputs: The preprocessed batch.
            frames: (N,) indices of the frames to compute among the B * T of the batch; None for all of them.
        """
        num_clips, num_frames = inputs['frames'].shape[:2]

        def choose(x: Tensor) -> Tensor:
            x = x.flatten(0, 1)
            return x if frames is None else select_frames(x, frames)

        audio_input = inputs['waveform'] if 'waveform' in inputs else inputs['log_mel']
        num_samples = {key: inputs[key] for key in ('num_samples', ) if key in inputs}
        audio = choose(self.audio_backbone(audio_input, num_frames, **num_samples))
        # Backbones of other libraries do not declare uses_audio.
        audio_guidance = (audio, ) if getattr(self.backbone, 'uses_audio', False) else ()
        features = self.backbone(choose(inputs['frames']), *audio_guidance)
        if self.mask_prior is not None:
            if 'mask_prior' not in inputs:
                raise ValueError('this model has a mask-prior branch, but the inputs hold no mask_prior: load mask '
                                 'priors in the pipeline, or use the config of the same name without mask-prior')
            features = self.mask_prior(choose(inputs['mask_prior']), features)
        valid = _existing(inputs) if frames is None else torch.ones(len(frames), 1, dtype=torch.bool)
        return features, audio, valid

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

    @staticmethod
    def _fill_predictions(sample: AVSDataSample, logits: Tensor, input_shape: tuple[int, int]) -> None:
        """Crop the batch padding from the scores (T, K, h, w), resize them to ``out_shape`` and predict the masks."""
        height, width = sample.img_shape
        if (height, width) != input_shape:
            logits = F.interpolate(logits, input_shape, mode='bilinear', align_corners=False)
            logits = logits[..., :height, :width]
        if logits.shape[-2:] != tuple(sample.out_shape):
            logits = F.interpolate(logits, tuple(sample.out_shape), mode='bilinear', align_corners=False)
        if logits.shape[1] == 1:
            margin = logits[:, 0]
            labels = margin > 0
        else:
            # With two classes the sigmoid of the margin is their softmax. With more, scores need not be
            # log-probabilities (VCT's are sums over queries), but the margin agrees with the most likely class.
            best, classes = logits[:, 1:].max(1)
            margin = best - logits[:, 0]
            labels = torch.where(margin > 0, classes + 1, 0)
        sample.foreground_prob = margin.sigmoid()
        sample.seg_logits = logits
        sample.pred_sem_seg = labels.to(torch.uint8)


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
