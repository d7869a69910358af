"""Queries from audio, as COMBO and the audio-centric baseline of VCT have them."""
import torch
from torch import Tensor, nn


class AudioQueryGenerator(nn.Module):
    """Queries of a frame from its audio only: the mean of the audio tokens, the same for every query.

    The decoder adds them to its learned queries (COMBO, CVPR 2024).

    COMBO's released code repeats the audio (N, C) of a batch for Q queries, which gives (N, Q, C), and then reshapes it
    to (Q, N, C) instead of exchanging the axes. Query q of frame n thus gets the audio of frame ``(q * N + n) // Q``:
    with the 5 frames of a clip, queries 0 to 19 of every frame get the audio of frame 0, 20 to 39 that of frame 1, and
    so on. The released checkpoints were trained that way and need ``layout='released'``. Here N are the frames of one
    clip, as in the authors' tests: the prediction of a clip does not depend on the batch it is in.

    Args:
        num_queries: Queries Q.
        layout: ``'frame'``: all queries of a frame get its own audio. ``'released'``: as described above.
    """

    def __init__(self, num_queries: int, layout: str = 'frame') -> None:
        super().__init__()
        if layout not in ('frame', 'released'):
            raise ValueError(f"AudioQueryGenerator: layout is {layout!r}, expected 'frame' or 'released'")
        self.num_queries = num_queries
        self.layout = layout

    def forward(self, audio_tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """Queries (N, Q, C) from audio tokens (N, tokens, C).

        ``valid``, (B, T) bool with B * T = N, tells which frames exist; None: all, and they are one clip. Only
        ``layout='released'`` reads it. Padding frames are at the end of a clip.
        """
        audio = audio_tokens.mean(1)
        if self.layout == 'frame':
            return audio.unsqueeze(1).expand(-1, self.num_queries, -1)
        if valid is None:
            valid = torch.ones(1, audio.shape[0], dtype=torch.bool, device=audio.device)
        return audio[self._sources(valid).to(audio.device)]

    def _sources(self, valid: Tensor) -> Tensor:
        """Frame whose audio each query of each frame gets, (N, Q) int64."""
        num_clips, num_frames = valid.shape
        lengths = valid.sum(1)[:, None, None]
        frames = torch.arange(num_frames, device=valid.device)[:, None]
        queries = torch.arange(self.num_queries, device=valid.device)
        # Padding frames get the audio of the last frames of their own clip.
        sources = ((queries * lengths + frames) // self.num_queries).clamp(max=num_frames - 1)  # (B, T, Q)
        first = num_frames * torch.arange(num_clips, device=valid.device)[:, None, None]
        return (first + sources).flatten(0, 1)
