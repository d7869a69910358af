"""Join or start a Ray cluster, and count the workers that it has room for."""
from __future__ import annotations

import logging
import os
import sys
from types import ModuleType


def connect(ray: ModuleType, address: str | None, num_cpus: int) -> bool:
    """Connect to a cluster, or start one on this machine.

    Args:
        ray: The module.
        address: Address of a cluster, 'auto' for that of this machine; None starts one.
        num_cpus: CPUs that a cluster that is started here has at least, whatever the cores: the workers share these.

    Returns:
        Whether ``ray.shutdown`` is to undo it; not if this process is connected already.

    Raises:
        ValueError: The cluster cannot be reached or started.
    """
    if ray.is_initialized():
        return False
    options = dict(address=address, logging_level=logging.WARNING)
    if address is None:
        # 'local': without an address, ray.init would join a cluster that runs on this machine already. Stated CPUs:
        # Ray's own counting would let each worker use all cores.
        # Its token, which Ray makes by itself, is no news.
        logging.getLogger('ray._private.authentication').setLevel(logging.ERROR)
        options |= dict(address='local', include_dashboard=False,
                        num_cpus=max(num_cpus, len(os.sched_getaffinity(0))))
    try:
        ray.init(**options)
    except Exception as error:  # of this class if the machine is too busy
        raise ValueError(f'Ray cannot be used ({error}): start a cluster (ray start --head), and name its address') \
            from error
    return True


def worker_room(ray: ModuleType, needed: dict[str, int], workers: int | None) -> int:
    """Count the workers that the machines of the cluster have room for; warn if there are fewer than ``workers``.

    Ray itself would wait for more machines, without end and without a word.

    Args:
        ray: The module, connected.
        needed: Resources that a worker reserves on its machine: CPUs, and a GPU if workers have one.
        workers: Number that is asked for; None for any.

    Raises:
        ValueError: There is no room for one.
    """
    machines = [node['Resources'] for node in ray.nodes() if node['Alive']]
    room = sum(min(int(machine.get(key, 0) // number) for key, number in needed.items()) for machine in machines)
    total, free = ray.cluster_resources(), ray.available_resources()
    found = ' and '.join(f'{total.get(key, 0):g} {key}(s)' for key in needed)
    found = f'the Ray cluster has {found} on {len(machines)} machine(s), and a worker needs ' + ' and '.join(
        f'{number} {key}(s)' for key, number in needed.items())
    if not room:
        without = ', or use no GPU (--device cpu)' if 'GPU' in needed else ''
        raise ValueError(f'{found} on one machine: add machines, or lower --cpus-per-worker{without}')
    if workers is not None and workers > room:
        print(f'warning: {found}: it has room for {room} of {workers} workers. The others begin when machines are '
              'added; lower --workers or --cpus-per-worker if none will be', file=sys.stderr)
    if any(free.get(key, 0) < number for key, number in needed.items()):
        left = ' and '.join(f'{free.get(key, 0):g} of {total[key]:g} {key}(s)' for key in needed)
        print(f'warning: the Ray cluster is busy, {left} are free: the first worker begins when other work ends',
              file=sys.stderr)
    return room
