"""No training goes on with the weights of another model."""
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop

from mmavs.checkpoint.compatibility import check_pretrained, check_state_dict
from mmavs.checkpoint.reading import extract_state_dict
from mmavs.checkpoint.training_settings import check_training_settings
from mmavs.registry import HOOKS


@HOOKS.register_module()
class StrictLoadHook(Hook):
    """Refuse a checkpoint, for ``load_from`` and ``--resume``, unless it is one of the model that the config describes.

    Names and shapes of its weights have to be those of the model, where MMEngine loads what fits and logs the rest; so
    do the input size and the classes that it was trained for, where it tells. Pretrained weights of a part of the model
    (``init_cfg``) have to fit at least half of its parameters: some may be new, but a file in other names would leave
    all of them random.

    Args:
        allow_other_settings: Accept another input size and other classes of the same number.
    """

    def __init__(self, allow_other_settings: bool = False) -> None:
        self.allow_other_settings = allow_other_settings

    def before_train(self, runner) -> None:
        """Raise a ValueError where pretrained weights do not belong to their part of the model."""
        for name, module in getattr(runner.model, 'module', runner.model).named_modules():
            init_cfg = getattr(module, 'init_cfg', None)
            if isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained':
                check_pretrained(module, init_cfg['checkpoint'], init_cfg.get('prefix', 'backbone'), name)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Raise a ValueError that lists the differences."""
        name = runner.cfg.get('load_from') or f'latest checkpoint of {runner.work_dir}'
        model = getattr(runner.model, 'module', runner.model)
        check_state_dict(model, extract_state_dict(checkpoint, name), name)
        if not self.allow_other_settings:
            trains = isinstance(runner._train_loop, BaseLoop)
            check_training_settings(checkpoint.get('meta', {}), runner.cfg, name, 'train' if trains else 'test')
