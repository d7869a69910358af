"""Optimizer constructor with independent rules for learning rate and weight decay."""
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmavs.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmavs.utils.model import original_name, unwrap_model

NORM_LAYERS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
OPTIONS = ('lr_mult', 'layer_decay', 'decay_mult', 'norm_decay_mult', 'embedding_decay_mult', 'named_groups')


# The second name is the former one, which older configs state.
@OPTIM_WRAPPER_CONSTRUCTORS.register_module(['ParamRulesOptimWrapperConstructor', 'IndependentRulesConstructor'])
class ParamRulesOptimWrapperConstructor:
    """Build the optimizer of a model from rules for the learning rate and rules for the weight decay.

    In MMEngine's default constructor a name in ``custom_keys`` switches off every other rule: "a tenth of the learning
    rate for backbones" also gives their norm layers the full weight decay. Here the two are independent, as in
    detectron2 and the code of Mask2Former, COMBO and VCT. Frozen parameters are left out; parameters that share
    learning rate and weight decay form one group, the one with the base learning rate first.

    Args:
        optim_wrapper_cfg: Config of the optimizer wrapper, with the config of the optimizer in it.
        paramwise_cfg: Dictionary with any of

            - ``lr_mult`` (dict): factor on the learning rate of parameters whose name contains the key;
            - ``layer_decay`` (float): factor d on the learning rate for every layer that follows, in each backbone that
              states the depth of its parameters (``get_layer_depth``, as those of mmpretrain): with L layers, the patch
              embedding learns at d^(L + 1), layer i of 1 to L at d^(L + 1 - i), a last norm at 1. ``lr_mult`` is
              multiplied on top of it;
            - ``decay_mult`` (dict): factor on the weight decay of parameters whose name contains the key, if any does;
            - ``norm_decay_mult`` (float): the same for weights and biases of normalization layers;
            - ``embedding_decay_mult`` (float): the same for every ``nn.Embedding``;
            - ``named_groups`` (list): prefixes of names, for example ``backbone.``. Parameters whose name begins with
              one form groups of their own, with this prefix as the ``name`` of the group, for
              :class:`TwoStageWarmupPolyLR`.

            Of several keys in a name the longest counts; ``decay_mult`` overrides the rules for layer types.

    Raises:
        ValueError: For an unknown option, a key of ``lr_mult`` that no parameter of the model contains, or a
            ``layer_decay`` if no backbone states the depth of its parameters.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.optim_wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = dict(self.optim_wrapper_cfg.pop('optimizer'))
        self.rules = paramwise_cfg or {}
        unknown = sorted(set(self.rules) - set(OPTIONS))
        if unknown:
            raise ValueError(f'optim_wrapper.paramwise_cfg holds {", ".join(unknown)}; expected {", ".join(OPTIONS)}')
        missing = sorted({'lr', 'weight_decay'} - set(self.optimizer_cfg))
        if missing:
            raise ValueError(f'optim_wrapper.optimizer lacks {" and ".join(missing)}, to which paramwise_cfg refers')

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper of ``model``, which may be wrapped for distributed training."""
        model = unwrap_model(model)
        optimizer = OPTIMIZERS.build(self.optimizer_cfg | dict(params=self.parameter_groups(model)))
        return OPTIM_WRAPPERS.build(dict(type='OptimWrapper') | self.optim_wrapper_cfg | dict(optimizer=optimizer))

    def parameter_groups(self, model: nn.Module) -> list[dict]:
        """Make the groups, each ``dict(params=..., lr=..., weight_decay=...)``, with ``name`` if it is a named one."""
        names = [original_name(name) for name, _ in model.named_parameters()]
        for key in self.rules.get('lr_mult', {}):
            if not any(key in name for name in names):
                raise ValueError(f'optim_wrapper.paramwise_cfg.lr_mult names {key!r}, but no parameter of the '
                                 f'{type(model).__name__} contains it, for example not {names[0]}')

        layer_factors = self._layer_factors(model)
        groups, seen = {}, set()
        for prefix, module in model.named_modules():
            for name, parameter in module.named_parameters(prefix, recurse=False):
                if not parameter.requires_grad or id(parameter) in seen:
                    continue
                seen.add(id(parameter))
                name = original_name(name)
                lr = self.optimizer_cfg['lr'] * _longest_match(self.rules.get('lr_mult', {}), name, 1.0)
                lr *= layer_factors.get(id(parameter), 1.0)
                decay = self.optimizer_cfg['weight_decay'] * self._decay_mult(module, name)
                owner = next((prefix for prefix in self.rules.get('named_groups', ()) if name.startswith(prefix)), None)
                groups.setdefault((lr, decay, owner), []).append(parameter)
        for (lr, decay, _), parameters in groups.items():
            print_log(f'{len(parameters)} parameters with learning rate {lr:g} and weight decay {decay:g}', 'current')
        # MMEngine logs the learning rate of the first group.
        ordered = sorted(
            groups.items(), key=lambda item: (item[0][0] != self.optimizer_cfg['lr'], item[0][2] is not None))
        return [dict(params=parameters, lr=lr, weight_decay=decay, **({} if owner is None else dict(name=owner)))
                for (lr, decay, owner), parameters in ordered]

    def _layer_factors(self, model: nn.Module) -> dict[int, float]:
        """Compute the factor on the learning rate of each parameter whose depth is known, by its id."""
        if 'layer_decay' not in self.rules:
            return {}
        factors = {}
        for module in model.modules():
            if hasattr(module, 'get_layer_depth'):
                for name, parameter in module.named_parameters():
                    depth, num_depths = module.get_layer_depth(original_name(name))
                    factors[id(parameter)] = self.rules['layer_decay']**(num_depths - 1 - depth)
        if not factors:
            raise ValueError('optim_wrapper.paramwise_cfg.layer_decay is set, but no part of the '
                             f'{type(model).__name__} tells the depth of its parameters: use a backbone with a method '
                             'get_layer_depth, as those of mmpretrain have, or lr_mult')
        return factors

    def _decay_mult(self, module: nn.Module, name: str) -> float:
        by_type = 1.0
        if isinstance(module, NORM_LAYERS):
            by_type = self.rules.get('norm_decay_mult', 1.0)
        elif isinstance(module, nn.Embedding):
            by_type = self.rules.get('embedding_decay_mult', 1.0)
        return _longest_match(self.rules.get('decay_mult', {}), name, by_type)


def _longest_match(factors: dict[str, float], name: str, default: float) -> float:
    """Return the factor of the longest key that ``name`` contains."""
    keys = [key for key in factors if key in name]
    return factors[max(keys, key=len)] if keys else default
