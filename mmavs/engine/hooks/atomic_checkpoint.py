"""Hook that writes checkpoints atomically."""
import os
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook

from mmavs.checkpoint.training_settings import TRAINED_FOR, training_settings
from mmavs.registry import HOOKS
from mmavs.utils.files import PARTIAL, atomic_write


class AtomicLocalBackend(LocalBackend):
    """Backend for local files: writes beside the target, and moves the file there when it is complete and on disk."""

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        """Write bytes atomically."""
        with atomic_write(filepath) as partial, open(partial, 'wb') as file:
            file.write(obj)
            file.flush()
            os.fsync(file.fileno())

    def put_text(self, obj: str, filepath: str | os.PathLike, encoding: str = 'utf-8') -> None:
        """Write text atomically."""
        self.put(obj.encode(encoding), filepath)


register_backend('atomic_local', AtomicLocalBackend, force=True)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook for local disks, safe against a process that is killed while it writes.

    MMEngine removes the oldest and the best checkpoint before it writes their successors, and writes in place. Here a
    checkpoint appears under its name when it is complete, then the pointer ``last_checkpoint`` is updated, and only
    then the predecessor is removed. The meta information holds the input size and the classes of the training. Takes
    the arguments of CheckpointHook except ``file_client_args`` and ``backend_args``; ``save_best`` names one metric.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, backend_args=dict(backend='atomic_local'), **kwargs)
        if self.args:
            raise ValueError(f"{type(self).__name__} takes no argument {', '.join(self.args)}")
        if self.save_best is not None and len(self.key_indicators) != 1:
            raise ValueError(f'save_best of {type(self).__name__} takes one metric, found {self.save_best}')

    def before_train(self, runner) -> None:
        """Remove incomplete files of a killed process."""
        super().before_train(runner)
        if is_main_process():
            for path in Path(self.out_dir).glob(f'*{PARTIAL}'):
                path.unlink()

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Record input size and classes, which :class:`StrictLoadHook` and the tools compare."""
        checkpoint['meta'][TRAINED_FOR] = training_settings(runner.cfg)

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        outdated = []
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated.append(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

        filename = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, filename)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            filename,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args)
        if is_main_process():
            self.file_backend.put_text(self.last_ckpt, os.path.join(runner.work_dir, 'last_checkpoint'))
            for old in outdated:
                Path(self.out_dir, self.filename_tmpl.format(old)).unlink(missing_ok=True)

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        if not self.save_best:
            return
        # Without a previous best MMEngine only writes; the previous one is removed here afterwards.
        previous, self.best_ckpt_path = self.best_ckpt_path, None
        super()._save_best_checkpoint(runner, metrics)
        if self.best_ckpt_path is None:
            self.best_ckpt_path = previous
        elif previous and previous != self.best_ckpt_path and is_main_process():
            Path(previous).unlink(missing_ok=True)
