"""Hook that rejects checkpoints that do not match the model."""
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop

from mmavs.checkpoint.compatibility import check_pretrained, check_state_dict
from mmavs.checkpoint.reading import extract_state_dict
from mmavs.checkpoint.training_settings import check_training_settings
from mmavs.registry import HOOKS
from mmavs.utils.model import unwrap_model


@HOOKS.register_module()
class StrictLoadHook(Hook):
    """Reject a checkpoint of ``load_from`` or ``--resume`` unless it belongs to the model that the config describes.

    Names and shapes of its weights must be those of the model; MMEngine would load the weights that fit and log the
    rest. Input size and classes of its training, if it states them, must be those of the config. Pretrained weights of
    a part of the model (``init_cfg``) must fit at least half of its parameters: some may be new, but a file with other
    names would leave all of them at random values.

    Args:
        allow_other_settings: Accept another input size and other classes of the same number.
    """

    def __init__(self, allow_other_settings: bool = False) -> None:
        self.allow_other_settings = allow_other_settings

    def before_train(self, runner) -> None:
        """Raise a ValueError if pretrained weights do not belong to their part of the model."""
        for name, module in unwrap_model(runner.model).named_modules():
            init_cfg = getattr(module, 'init_cfg', None)
            if isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained':
                check_pretrained(module, init_cfg['checkpoint'], init_cfg.get('prefix', 'backbone'), name)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Raise a ValueError that lists the differences."""
        name = runner.cfg.get('load_from') or f'latest checkpoint of {runner.work_dir}'
        check_state_dict(unwrap_model(runner.model), extract_state_dict(checkpoint, name), name)
        if not self.allow_other_settings:
            trains = isinstance(runner._train_loop, BaseLoop)
            check_training_settings(checkpoint.get('meta', {}), runner.cfg, name, 'train' if trains else 'test')
