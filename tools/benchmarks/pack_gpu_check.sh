#!/usr/bin/env bash
# Pack what the GPU check needs on a machine without a network: wheels that a bare machine with PyTorch lacks, the
# source of mmcv's ops and the parity cases. Run it on a machine with a network and copy the directory to the root of
# the checkout on the machine with the GPU.
#
#   tools/benchmarks/pack_gpu_check.sh [DIR]        default: gpu_pack
#
# Environment: PYTHON (with pip, default: python3), PYTHON_VERSION (of the machine with the GPU, default: 3.12),
# MMAVS_PARITY_DIR (directory of parity cases, default: ../shared/parity/cases if there), MMCV_WHEEL (a wheel of mmcv
# with compiled ops for that machine: then nothing is compiled there).
set -euo pipefail
cd "$(dirname "$0")/../.."

PACK=${1:-gpu_pack}
PYTHON=${PYTHON:-python3}
PYTHON_VERSION=${PYTHON_VERSION:-3.12}
CASES=${MMAVS_PARITY_DIR:-../shared/parity/cases}
LIMIT_MIB=60
# Imports of OpenMMLab's packages and of mmavs that do not come with PyTorch, transformers, timm, SciPy, matplotlib and
# OpenCV; ninja, which compiles mmcv's op; pytest-xdist, which spreads the parity cases over processes.
SMALL="addict av einops ftfy importlib-metadata mat4py model-index prettytable pyyaml regex rich soundfile termcolor
    yapf setuptools<82
    cffi click lazy-importer markdown markdown-it-py mdurl ordered-set platformdirs pycparser pygments wcwidth zipp
    execnet ninja pytest-xdist"

rm -rf "$PACK"/{wheels,parity,onedl_mmcv-*}
mkdir -p "$PACK/wheels"
platforms=()
for platform in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014 manylinux_2_12 manylinux2010 manylinux1; do
    platforms+=(--platform "${platform}_x86_64")
done
pip() {
    "$PYTHON" -m pip "$@" --quiet --disable-pip-version-check --no-deps
}

openmmlab=$(grep '^onedl-' requirements/mminstall.txt)
# Pure Python, some of them published as sources only.
# shellcheck disable=SC2046
pip wheel --wheel-dir "$PACK/wheels" $(grep -v '^onedl-mmcv' <<< "$openmmlab")
# shellcheck disable=SC2086
pip download --dest "$PACK/wheels" --only-binary :all: --implementation cp --python-version "$PYTHON_VERSION" \
    "${platforms[@]}" $SMALL
if [ -n "${MMCV_WHEEL:-}" ]; then
    cp "$MMCV_WHEEL" "$PACK/wheels/"
else
    pip download --dest "$PACK" --no-binary onedl-mmcv "$(grep '^onedl-mmcv' <<< "$openmmlab")"
fi
if [ -d "$CASES" ]; then
    mkdir -p "$PACK/parity/cases"
    cp "$CASES/../seeded.py" "$PACK/parity/"
    for case in "$CASES"/*/; do
        method=$("$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))["method"])' "$case/case.json")
        if grep -q "^    '$method'" tests/test_parity.py; then
            cp -r "$case" "$PACK/parity/cases/"
        else
            echo "note: $(basename "$case") is left out: tests/test_parity.py has no check of $method"
        fi
    done
else
    echo "note: no parity cases in $CASES: that step of the check will be skipped"
fi

size=$(du --apparent-size --summarize --bytes "$PACK" | cut -f 1)
mib=$((1024 * 1024))
printf '%s: %d files, %d.%d MiB (less than %d)\n' "$PACK" "$(find "$PACK" -type f | wc -l)" $((size / mib)) \
    $((size * 10 / mib % 10)) $LIMIT_MIB
[ "$size" -lt $((LIMIT_MIB * mib)) ] || { echo "error: $PACK is too large to be carried"; exit 1; }
