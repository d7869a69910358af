#!/usr/bin/env bash
# What has to be seen on a GPU: mmcv's ops compile, its deformable attention equals the PyTorch path, VCT trains in mixed
# precision, and how fast and large it is. Needs nvcc of the CUDA release that PyTorch was built for.
#
#   tools/gpu_check.sh [OUT_DIR]        default: work_dirs/gpu_check
#
# Environment: PYTHON, STEPS (of each training), CONFIGS (names or files), REPEATS (of each measurement), FRAMES (of each
# clip that is measured), JOBS (of the compiler). With DEVICE=cpu nothing is compiled: for trying the script out, with
# CONFIGS=configs/vct/vct_tiny_synthetic.py.
set -euo pipefail
cd "$(dirname "$0")/.."

OUT=${1:-work_dirs/gpu_check}
PYTHON=${PYTHON:-python}
DEVICE=${DEVICE:-cuda}
STEPS=${STEPS:-200}
CONFIGS=${CONFIGS:-vct_swin-b_avss vct_swin-b-224_avss}
REPEATS=${REPEATS:-20}
FRAMES=${FRAMES:-5}
CLASSES=background,bell,drum,cymbal,bird,gear,horn,clock,hive
mkdir -p "$OUT"
export PYTHONWARNINGS=ignore

step() { printf '\n== %s\n' "$*"; }

step "1. The machine"
if [ "$DEVICE" != cpu ]; then
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
    "$PYTHON" -c 'import torch; assert torch.cuda.is_available(), "PyTorch sees no GPU"; print(torch.__version__, "CUDA", torch.version.cuda)'
fi | tee "$OUT/machine.txt"

step "2. The ops of mmcv"
has_ops() { "$PYTHON" -c 'import sys; from mmavs.models.layers.deformable_attention import mmcv_cuda_op; sys.exit(mmcv_cuda_op() is None)'; }
if [ "$DEVICE" = cpu ]; then
    echo "not compiled for a CPU"
elif has_ops; then
    echo "are there"
else
    command -v nvcc > /dev/null || { echo "error: no nvcc: install the CUDA toolkit of PyTorch's release"; exit 1; }
    site=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    version=$("$PYTHON" -c 'import mmcv; print(mmcv.__version__)')
    # The headers of cuBLAS, cuSPARSE and others lie in PyTorch's own CUDA packages.
    CPATH="$site/nvidia/cu13/include${CPATH:+:$CPATH}" MMCV_WITH_OPS=1 FORCE_CUDA=1 MAX_JOBS=${JOBS:-$(nproc)} \
        "$PYTHON" -m pip install --no-deps --no-build-isolation --no-cache-dir --force-reinstall \
        --no-binary onedl-mmcv "onedl-mmcv==$version" > "$OUT/compile.log" 2>&1 \
        || { tail -n 30 "$OUT/compile.log"; echo "error: mmcv did not compile, see $OUT/compile.log"; exit 1; }
    has_ops || { echo "error: mmcv was installed, but without its CUDA ops, see $OUT/compile.log"; exit 1; }
    echo "compiled, log in $OUT/compile.log"
fi

step "3. Deformable attention: mmcv's op beside the PyTorch path, forward and backward, float32 and float16"
size=384
[ "$DEVICE" = cpu ] && size=96
"$PYTHON" tools/analysis_tools/compare_deformable_attention.py --device "$DEVICE" --size $size | tee "$OUT/deformable.txt"
"$PYTHON" -m pytest -q tests/test_deformable_attention.py

step "4. $STEPS steps of training in mixed precision"
"$PYTHON" tools/dataset_converters/synthesize_clips.py "$OUT/data" --subset avss --num-train 16 --num-val 1 --num-test 1 \
    --size 384
for config in $CONFIGS; do
    name=$(basename "$config" .py)
    rm -rf "$OUT/train_$name"
    # Without validation: the drawn clips have fewer classes than the model.
    options=(train_cfg.max_iters="$STEPS" val_cfg=None val_dataloader=None val_evaluator=None
        model.backbone.init_cfg=None model.audio_backbone.init_cfg=None
        train_dataloader.dataset.data_root="$OUT/data/AVSS" train_dataloader.dataset.metainfo.classes="$CLASSES"
        default_hooks.checkpoint.interval="$STEPS" default_hooks.checkpoint.save_best=None
        default_hooks.logger.interval="$((STEPS < 10 ? 1 : 10))")
    "$PYTHON" tools/train.py "$config" --amp --work-dir "$OUT/train_$name" --cfg-options "${options[@]}" \
        > "$OUT/train_$name.log" 2>&1 || { tail -n 20 "$OUT/train_$name.log"; exit 1; }
    "$PYTHON" tools/analysis_tools/analyze_logs.py "$OUT/train_$name" --keys loss grad_norm \
        --out "$OUT/train_$name.png" | tee "$OUT/train_$name.txt"
done

step "5. Speed and memory"
rm -f "$OUT/rows.csv"
variants=("" "--amp fp16" "--amp bf16" "--amp bf16 --channels-last" "--amp bf16 --compile")
[ "$DEVICE" = cpu ] && variants=("" "--amp bf16 --channels-last")
for config in $CONFIGS; do
    for variant in "${variants[@]}"; do
        # torch.compile or a precision may fail where the others work: the rest is measured all the same.
        # shellcheck disable=SC2086
        "$PYTHON" tools/analysis_tools/benchmark.py "$config" --device "$DEVICE" --repeats "$REPEATS" --frames "$FRAMES" \
            $variant --out "$OUT/rows.csv" || echo "FAILED: $config $variant" | tee -a "$OUT/failed.txt"
    done
done
"$PYTHON" tools/analysis_tools/print_rows.py "$OUT/rows.csv" | tee "$OUT/rows.md"

step "Done: copy $OUT/rows.md to docs/benchmarks.md, with what $OUT/deformable.txt and $OUT/train_*.txt say"
