#!/usr/bin/env bash
# The GPU check in one call: what mmavs does on a GPU, in at most 9 minutes and without a network. See gpu_check.py.
#
#   tools/benchmarks/pack_gpu_check.sh          on a machine with a network: makes the directory gpu_pack
#   tools/benchmarks/gpu_check.sh [OUT]         on the machine with the GPU, in a checkout that gpu_pack was copied into
#
# OUT (default: work_dirs/gpu_check/results) receives results.json and log.txt. Environment: PYTHON (default: python3),
# DEVICE (cpu: try the check out with small models). Options: tools/benchmarks/gpu_check.sh --help
set -euo pipefail
cd "$(dirname "$0")/../.."
exec "${PYTHON:-python3}" tools/benchmarks/gpu_check.py "$@"
