#!/bin/sh
# All of `python -m benchmarks.cuda` on a machine with a GPU, in one go: sh benchmarks/cuda/run.sh FILE [WHEELS]
#
# In the repository's root, with the python3 that has PyTorch and numba-cuda. FILE: where the JSON goes. WHEELS: a folder
# with the wheels that this python3 lacks, for a machine that reaches no package index. Nothing is left in the repository.
set -eu
file=$(realpath "$1") wheels=${2:-} site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if [ -n "$wheels" ]; then
    python3 -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
fi
cp -r streamrnn "$site"  # as a wheel lays it out
cp -r workers "$site/streamrnn/workers"
cp -r configs "$site/streamrnn/configs"
cp -r benchmarks configs "$site"
cd "$site"
XDG_CACHE_HOME=$site/cache XDG_STATE_HOME=$site/state PYTHONUNBUFFERED=1 PYTHONPATH=$site \
    python3 -m benchmarks.cuda --json "$file"
