"""Hook that writes checkpoints atomically."""
import math
import os
import re
from collections import deque
from numbers import Real
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmavs.checkpoint.training_settings import TRAINED_FOR, training_settings
from mmavs.registry import HOOKS
from mmavs.utils.files import PARTIAL, atomic_write

# Runtime information of the message hub, which checkpoints hold: the iteration of the last validation.
VALIDATED = 'validated_iter'


class AtomicLocalBackend(LocalBackend):
    """Backend for local files: writes beside the target, and moves the file there when it is complete and on disk."""

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        """Write bytes atomically."""
        with atomic_write(filepath, sync=True) as partial:
            partial.write_bytes(obj)

    def put_text(self, obj: str, filepath: str | os.PathLike, encoding: str = 'utf-8') -> None:
        """Write text atomically."""
        self.put(obj.encode(encoding), filepath)


register_backend('atomic_local', AtomicLocalBackend, force=True)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook for local disks, safe against a process that is killed while it writes.

    MMEngine removes the oldest and the best checkpoint before it writes their successors, and writes in place. Here a
    checkpoint appears under its name when it is complete, then the pointer ``last_checkpoint`` is updated. The oldest
    is removed after the next iteration, whose loss shows that the weights of the newest are usable. The meta
    information holds the input size and the classes of the training. Takes the arguments of CheckpointHook except
    ``file_client_args`` and ``backend_args``; ``save_best`` names one metric.

    A resumed checkpoint states which files are the best and the former ones. Only their names count, and only if they
    follow the pattern of this hook and the files are in its own directory: other files are never removed. If the best
    checkpoint is not there, for example because another run is resumed, its score does not count either.

    A checkpoint is written before its validation, and again if it is the best. If the process ends in between, or the
    score was not the best, the checkpoint does not state that it has been validated: a training that is resumed from it
    begins with that validation, if it is due.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, backend_args=dict(backend='atomic_local'), **kwargs)
        # Steps whose checkpoints are removed after the next iteration.
        self._outdated: list[int] = []
        if self.args:
            raise ValueError(f"{type(self).__name__} takes no argument {', '.join(self.args)}")
        if self.save_best is not None and len(self.key_indicators) != 1:
            raise ValueError(f'save_best of {type(self).__name__} takes one metric, found {self.save_best}')

    def before_train(self, runner) -> None:
        """Take over the files of a resumed run, and remove incomplete ones of a killed process."""
        # MMEngine would remove files by these numbers, whatever they are.
        kept = runner.message_hub.pop_info('keep_ckpt_ids', None)
        super().before_train(runner)
        if self.max_keep_ckpts > 0:
            self._take_over_kept(runner, kept if isinstance(kept, list | tuple) else [])
        if self.save_best:
            self._take_over_best(runner)
        if is_main_process():
            for path in Path(self.out_dir).glob(f'*{PARTIAL}'):
                path.unlink()
        if runner.iter and validation_is_due(runner) and runner.message_hub.runtime_info.get(VALIDATED) != runner.iter:
            runner.logger.info(f'validation of the resumed checkpoint, of iteration {runner.iter}')
            path = Path(self.out_dir, self._name(runner.epoch if self.by_epoch else runner.iter))
            if path.is_file():  # MMEngine writes its score into it
                self.last_ckpt = self.file_backend.join_path(self.out_dir, path.name)
            runner.val_loop.run()

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Save the best checkpoint, which states that it has been validated."""
        runner.message_hub.update_info(VALIDATED, runner.iter)
        super().after_val_epoch(runner, metrics)

    def _take_over_kept(self, runner, kept: list | tuple) -> None:
        """Count those former checkpoints that are in the directory."""
        steps = [step for step in kept if type(step) is int and Path(self.out_dir, self._name(step)).is_file()]
        self.keep_ckpt_ids = deque(steps[-self.max_keep_ckpts:], self.max_keep_ckpts)
        self._outdated = steps[:-self.max_keep_ckpts]
        if steps:
            runner.message_hub.update_info('keep_ckpt_ids', steps)

    def _take_over_best(self, runner) -> None:
        """Continue with the best checkpoint of a resumed run and its score if the file is in the directory."""
        stated = runner.message_hub.pop_info('best_ckpt', None)
        score = runner.message_hub.pop_info('best_score', None)
        self.best_ckpt_path = None
        if stated is None:
            return
        path = Path(self.out_dir, os.path.basename(str(stated)))
        step = self._best_step(path)
        if step is None or not path.is_file() or not isinstance(score, Real) or not math.isfinite(score):
            runner.message_hub.pop_info(VALIDATED, None)
            runner.logger.info(f'the best checkpoint of the resumed training, {stated}, is not one of '
                               f'{self.out_dir}: the best of this run is chosen anew')
            return
        self.best_ckpt_path = self.file_backend.join_path(self.out_dir, path.name)
        runner.message_hub.update_info('best_ckpt', self.best_ckpt_path)
        runner.message_hub.update_info('best_score', score)
        # A process that is killed after it has written the best checkpoint leaves the former one.
        prefix = path.name.removesuffix(self._name(step))
        if is_main_process():
            for other in Path(self.out_dir).glob('best_*'):
                former = self._best_step(other)
                if former is not None and former < step and other.name == f'{prefix}{self._name(former)}':
                    other.unlink(missing_ok=True)

    def _name(self, step: int) -> str:
        return self.filename_tmpl.format(step)

    def _best_step(self, path: Path) -> int | None:
        """Step of a best checkpoint of this hook, None for any other name."""
        key = '.+' if self.key_indicators == ['auto'] else re.escape(self.key_indicators[0].replace('/', '_'))
        number = re.escape(self.filename_tmpl).replace(r'\{\}', r'(\d+)')
        match = re.fullmatch(f'best_{key}_{number}', path.name)
        return int(match[1]) if match else None

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Remove the checkpoints that the last one replaces; save the next one if it is due."""
        self._remove_outdated()
        super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def after_train(self, runner) -> None:
        """Remove the checkpoints that the last one replaces."""
        self._remove_outdated()
        super().after_train(runner)

    def _remove_outdated(self) -> None:
        if is_main_process():
            for step in self._outdated:
                Path(self.out_dir, self._name(step)).unlink(missing_ok=True)
        self._outdated = []

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Record input size and classes, which :class:`StrictLoadHook` and the tools compare."""
        checkpoint['meta'][TRAINED_FOR] = training_settings(runner.cfg)

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                self._outdated.append(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', [*self._outdated, *self.keep_ckpt_ids])

        filename = self._name(step)
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


def validation_is_due(runner: Runner) -> bool:
    """Return whether the loop of a training validates after the iteration or epoch that it has reached."""
    loop = runner.train_loop
    if runner.val_loop is None:
        return False
    loop._decide_current_val_interval()
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    done, end = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
    return done >= loop.val_begin and (done % loop.val_interval == 0 or done == end)
