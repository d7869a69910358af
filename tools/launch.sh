# Functions that start several processes of a tool; sourced by dist_*.sh and slurm_*.sh.
TOOLS=$(dirname "${BASH_SOURCE[0]}")
export PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}"

# launch_with_torchrun GPUS TOOL [ARGUMENTS]
# One process per GPU, or as many processes on the CPU if there is none.
# On several machines set NNODES, NODE_RANK, MASTER_ADDR and PORT.
launch_with_torchrun() {
    local rendezvous=(--standalone)
    if [ "${NNODES:-1}" != 1 ] || [ -n "${PORT:-}" ]; then
        rendezvous=(--nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}"
                    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}")
    fi
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
    exec "${PYTHON:-python}" -m torch.distributed.run "${rendezvous[@]}" --nproc_per_node="$1" \
        "$TOOLS/$2" --launcher pytorch "${@:3}"
}

# launch_with_slurm PARTITION JOB_NAME TOOL [ARGUMENTS]
# Environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS.
launch_with_slurm() {
    # SRUN_ARGS may hold several arguments.
    # shellcheck disable=SC2086
    exec srun -p "$1" \
        --job-name="$2" \
        --gres=gpu:"${GPUS_PER_NODE:-8}" \
        --ntasks="${GPUS:-8}" \
        --ntasks-per-node="${GPUS_PER_NODE:-8}" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" \
        --kill-on-bad-exit=1 \
        ${SRUN_ARGS:-} \
        "${PYTHON:-python}" -u "$TOOLS/$3" --launcher slurm "${@:4}"
}
