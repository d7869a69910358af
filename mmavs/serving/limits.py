"""Limits of what the server takes and of what a job may use."""
from __future__ import annotations

from dataclasses import dataclass

MEGABYTE = 2**20


@dataclass(frozen=True)
class Limits:
    """Limits of uploads and jobs. All of them hold for each upload or job, except the last three.

    Attributes:
        upload_bytes: Bytes of an uploaded file.
        video_seconds: Duration of a video.
        frame_pixels: Pixels of a frame, its height times its width.
        frames_per_second: Frames that are segmented for each second of the video.
        job_seconds: Time that a job may take, without the time in the queue.
        job_bytes: Memory that a job may use beyond the worker's own, as the model needs it.
        queued_jobs: Jobs that wait; others are refused.
        concurrent_jobs: Jobs that run at the same time, each in a worker process.
        kept_seconds: Time after which uploads and results are deleted.
    """
    upload_bytes: int = 200 * MEGABYTE
    video_seconds: float = 60
    frame_pixels: int = 1920 * 1088
    frames_per_second: int = 10
    job_seconds: float = 300
    job_bytes: int = 4096 * MEGABYTE
    queued_jobs: int = 20
    concurrent_jobs: int = 1
    kept_seconds: int = 3600

    @property
    def stored_bytes(self) -> int:
        """Bytes of all uploads and results together, beyond which uploads are refused until some are deleted."""
        return 4 * self.upload_bytes * (self.queued_jobs + self.concurrent_jobs)

    def describe(self) -> str:
        """State the limits of an upload and when it is deleted, as a sentence for its user."""
        return (f'Videos of at most {self.video_seconds:g} seconds, {self.upload_bytes / MEGABYTE:g} MB and '
                f'{self.frame_pixels:,} pixels a frame. Your video and the results are deleted after '
                f'{max(1, round(self.kept_seconds / 60))} minutes.')
