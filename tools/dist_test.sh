#!/usr/bin/env bash
# Usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [ARGUMENTS OF test.py]
# One process per GPU, or as many processes on the CPU if there is none.
# On several machines set NNODES, NODE_RANK, MASTER_ADDR and PORT.
set -euo pipefail
source "$(dirname "$0")/launch.sh"
launch_with_torchrun "$3" test.py "$1" "$2" "${@:4}"
