"""Registries of mmavs: children of MMEngine's, scope ``mmavs``.

Components of MMSegmentation and MMPretrain are reachable from configs by their scope prefix, for example
``dict(type='mmseg.SwinTransformer')`` or ``dict(type='mmpretrain.ConvNeXt')``: importing their registries here links
them under MMEngine's root registries.
"""
import warnings

import mmpretrain.registry  # noqa: F401
import mmpretrain.utils.dependency
import mmseg.registry  # noqa: F401
from mmengine import registry as root
from mmengine.registry import Registry

# With pycocotools installed, mmpretrain 1.3.6 imports its multimodal models, which fail beside transformers 5.
mmpretrain.utils.dependency.WITH_MULTIMODAL &= not mmpretrain.utils.dependency.satisfy_requirement('transformers>=5')

with warnings.catch_warnings():
    # mmcv without compiled ops advises another package here; mmavs samples in plain PyTorch instead.
    warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
    import mmcv.cnn.bricks.transformer  # noqa: F401

import mmavs.checkpoint.mmengine_schemes  # noqa: E402, F401 (from here on MMEngine loads checkpoints through it)

MODELS = Registry('model', parent=root.MODELS, scope='mmavs', locations=['mmavs.models'])
DATASETS = Registry('dataset', parent=root.DATASETS, scope='mmavs', locations=['mmavs.datasets'])
DATA_SAMPLERS = Registry('data sampler', parent=root.DATA_SAMPLERS, scope='mmavs', locations=['mmavs.datasets'])
TRANSFORMS = Registry('transform', parent=root.TRANSFORMS, scope='mmavs', locations=['mmavs.datasets.transforms'])
METRICS = Registry('metric', parent=root.METRICS, scope='mmavs', locations=['mmavs.evaluation'])
HOOKS = Registry('hook', parent=root.HOOKS, scope='mmavs', locations=['mmavs.engine'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=root.OPTIM_WRAPPER_CONSTRUCTORS,
    scope='mmavs',
    locations=['mmavs.engine'])
PARAM_SCHEDULERS = Registry(
    'parameter scheduler', parent=root.PARAM_SCHEDULERS, scope='mmavs', locations=['mmavs.engine'])
INFERENCERS = Registry('inferencer', parent=root.INFERENCERS, scope='mmavs', locations=['mmavs.apis.inferencer'])
STRATEGIES = Registry('strategy', parent=root.STRATEGIES, scope='mmavs', locations=['mmavs.engine'])
VISBACKENDS = Registry('vis_backend', parent=root.VISBACKENDS, scope='mmavs', locations=['mmavs.visualization'])
VISUALIZERS = Registry('visualizer', parent=root.VISUALIZERS, scope='mmavs', locations=['mmavs.visualization'])

# MMEngine warns if a scope lacks one of its registries; mmavs adds nothing to these.
UNEXTENDED = [
    Registry(parent.name, parent=parent, scope='mmavs', locations=[])
    for parent in (root.EVALUATOR, root.FUNCTIONS, root.LOG_PROCESSORS, root.LOOPS,
                   root.MODEL_WRAPPERS, root.OPTIMIZERS, root.OPTIM_WRAPPERS, root.RUNNERS,
                   root.RUNNER_CONSTRUCTORS, root.TASK_UTILS, root.WEIGHT_INITIALIZERS)
]
