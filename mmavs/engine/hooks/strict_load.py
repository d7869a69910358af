"""Hook that rejects checkpoints that do not match the model."""
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop

from mmavs.checkpoint.compatibility import check_state_dict, with_own_classifier
from mmavs.checkpoint.training_settings import check_training_settings
from mmavs.registry import HOOKS
from mmavs.utils.model import unsharded_model


@HOOKS.register_module()
class StrictLoadHook(Hook):
    """Reject a checkpoint of ``load_from`` or ``--resume`` unless it belongs to the model that the config describes.

    Names and shapes of its weights must be those of the model; MMEngine would load the weights that fit and log the
    rest. Input size and classes of its training, if it states them, must be those of the config.

    Args:
        allow_other_settings: Accept another input size and other classes of the same number.
        allow_new_classifier: For ``load_from``: load all weights but those that have a row for each class, which keep
            their initial values. Other classes, also another number of them, are accepted. ``--resume`` continues a
            training, and loads the classifier too.
    """

    # Before other hooks read the weights (EMAHook).
    priority = 'HIGH'

    def __init__(self, allow_other_settings: bool = False, allow_new_classifier: bool = False) -> None:
        self.allow_other_settings = allow_other_settings
        self.allow_new_classifier = allow_new_classifier

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Raise a ValueError that lists the differences."""
        name = runner.cfg.get('load_from') or f'latest checkpoint of {runner.work_dir}'
        model, meta = unsharded_model(runner.model), checkpoint.get('meta', {})
        if runner._resume and 'iter' not in meta:
            raise ValueError(f'{name}: holds weights, but not the state of a training that could be resumed: use '
                             'load_from, without --resume, to start from it')
        starts = self.allow_new_classifier and not runner._resume
        if starts:
            checkpoint['state_dict'], new = with_own_classifier(model, checkpoint['state_dict'])
            runner.logger.info(f'{name}: not loaded, because the classes are new: {", ".join(new)}')
        check_state_dict(model, checkpoint['state_dict'], name)
        if not self.allow_other_settings:
            trains = isinstance(runner._train_loop, BaseLoop)
            check_training_settings(meta, runner.cfg, name, 'train' if trains else 'test', compare_classes=not starts)
