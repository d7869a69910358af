"""No training goes on with the weights of another model."""
from mmengine.hooks import Hook

from mmavs.registry import HOOKS
from mmavs.utils.checkpoint import check_state_dict, weights_of


@HOOKS.register_module()
class StrictLoadHook(Hook):
    """Refuse a checkpoint, for ``load_from`` and ``--resume``, unless its names and shapes are those of the model.

    MMEngine loads what fits and logs the rest.
    """

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Raise a ValueError that lists the differences."""
        name = runner.cfg.get('load_from') or f'latest checkpoint of {runner.work_dir}'
        model = getattr(runner.model, 'module', runner.model)
        check_state_dict(model, weights_of(checkpoint, name), name)
