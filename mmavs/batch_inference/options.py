"""Options of the segmentation of videos, which are the same for all of them."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real


@dataclass(frozen=True)
class SegmentOptions:
    """Model and outputs of a run; the arguments of :class:`mmavs.apis.AVSInferencer` and of its method ``write``.

    Attributes:
        model: Name of a model of the zoo, config file, or file of ``mmavs export``.
        weights: Checkpoint; None for an exported model.
        outputs: Names of ``mmavs.apis.outputs.OUTPUTS``.
        fps: Frames per second to segment, or 'native'.
        batch_size: Clips that the model gets at once; None: as many as have 10 frames.
        mask_prior: Source of the mask priors, see :class:`mmavs.apis.AVSInferencer`.
        device: Device of the model; None: the GPU if there is one.
        precision: Type that predictions are computed in: 'fp32', 'bf16' or 'fp16'.
        compile: Whether to compile the model.
    """
    model: str
    weights: str | None = None
    outputs: Sequence[str] = ('overlay', 'png')
    fps: Real | str = 1
    batch_size: int | None = None
    mask_prior: str | None = None
    device: str | None = None
    precision: str = 'fp32'
    compile: bool = False

    def model_arguments(self) -> tuple:
        """The arguments of :class:`mmavs.apis.AVSInferencer`, in their order."""
        return self.model, self.weights, self.device, self.mask_prior, self.precision, self.compile

    def result_settings(self) -> dict[str, str]:
        """The options that results depend on, as text; the outputs in the order of their names."""
        settings = dict(model=self.model, weights=self.weights, outputs=' '.join(sorted(self.outputs)), fps=self.fps,
                        mask_prior=self.mask_prior, precision=self.precision)
        return {key: str(value) for key, value in settings.items()}
