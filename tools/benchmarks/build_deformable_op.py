"""Compile the one op of mmcv that mmavs uses, deformable attention on CUDA, in about a minute.

The whole extension of mmcv has about 80 ops, which take about 10 minutes on a few cores. Here two source files of mmcv
are compiled with ``deformable_ext.cpp``, which binds them, and ``partial_ext.py`` takes the place of ``mmcv._ext``.
"""
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
HOPPER = '9.0'


def has_op() -> bool:
    """Whether a fresh process finds the op, either the whole extension's or this one's."""
    if find_spec('mmcv._ext') is None:
        return False
    code = ('import sys; from mmavs.models.layers.deformable_attention import mmcv_cuda_op; '
            'sys.exit(mmcv_cuda_op() is None)')
    return subprocess.run([sys.executable, '-c', code]).returncode == 0


def build_op(package: Path, build: Path) -> dict[str, str]:
    """Compile the op and put it into a copy of mmcv that lies in a directory of its own.

    Args:
        package: The directory ``mmcv``; the extension is written beside it, its stand-in ``_ext.py`` into it.
        build: Directory of object files, which is emptied.

    Returns:
        Release of the compiler and architecture: that of the GPU, Hopper's without one.
    """
    import torch
    from torch.utils import cpp_extension
    architecture = '.'.join(map(str, torch.cuda.get_device_capability())) if torch.cuda.is_available() else HOPPER
    os.environ['TORCH_CUDA_ARCH_LIST'] = architecture
    os.environ.setdefault('MAX_JOBS', str(len(os.sched_getaffinity(0))))
    cpp_extension.CUDA_HOME = str(cuda_home())
    # Headers and libraries that the toolkit may lack lie in PyTorch's own CUDA packages.
    packaged = Path(torch.__file__).parents[1] / f'nvidia/cu{torch.version.cuda.split(".")[0]}'
    paths = [os.environ.get('CPLUS_INCLUDE_PATH'), str(packaged / 'include')]
    os.environ['CPLUS_INCLUDE_PATH'] = os.pathsep.join(filter(None, paths))
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    for library in packaged.glob('lib/libcudart.so.*'):
        (build / 'libcudart.so').symlink_to(library)
    source = package / 'ops/csrc'
    files = [HERE / 'deformable_ext.cpp', source / 'pytorch/cuda/ms_deform_attn_cuda.cu',
             source / 'pytorch/ms_deform_attn.cpp', source / 'pytorch/info.cpp']
    cpp_extension.load(
        'mmcv_deformable_ext', [str(file) for file in files],
        extra_include_paths=[str(source / part) for part in ('pytorch', 'common', 'common/cuda')],
        extra_cflags=['-DMMCV_WITH_CUDA'], extra_cuda_cflags=['-DMMCV_WITH_CUDA'], extra_ldflags=[f'-L{build}'],
        build_directory=str(build), with_cuda=True, verbose=True)
    shutil.copy(build / 'mmcv_deformable_ext.so', package.parent)
    shutil.copy(HERE / 'partial_ext.py', package / '_ext.py')
    release = subprocess.run(['nvcc', '--version'], capture_output=True, text=True).stdout.splitlines()[-1]
    return dict(nvcc=release, architecture=architecture)


def cuda_home() -> Path:
    """The directory of the CUDA toolkit, as nvcc states it: the nvcc on the path may be a script elsewhere."""
    lines = subprocess.run(['nvcc', '--dryrun', '-c', 'x.cu'], capture_output=True, text=True).stderr.splitlines()
    [here] = [line.partition('=')[2] for line in lines if line.startswith('#$ _HERE_=')]
    return Path(here).parent
