#!/usr/bin/env bash
# Every figure of training on a GPU, in one call of 8 minutes: printed, and written as JSON.
#
# From a plain checkout, with nothing to download; dependencies lie in a virtual environment .venv
# that travels with it (python -m venv --copies --system-site-packages .venv, pip install -e .):
#
#     OUT=results PYTHON=.venv/bin/python benchmarks/speed/gpu.sh     # on a GPU
#     benchmarks/speed/gpu.sh --fast                                  # tiny, on the processor
#
# A part that fails or takes too long is noted in the JSON, and the next one starts.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
python=${PYTHON:-python}
out=${OUT:-$(mktemp -d)}
limit=480 # seconds in all
failed=0

for part in $("$python" benchmarks/speed/_gpu_parts.py --list "$@"); do
  left=$((limit - SECONDS))
  if [ "$left" -lt 5 ]; then
    echo "no time left for $part"
    failed=1
    continue
  fi
  share=$((left < 120 ? left : 120))
  timeout "$share" "$python" benchmarks/speed/_gpu_parts.py --part "$part" --out "$out" "$@" ||
    { echo "$part failed or took longer than $share s"; failed=1; }
done
"$python" benchmarks/speed/_gpu_parts.py --collect --out "$out"
echo "$out/gpu.json after $SECONDS s"
# On a GPU what was measured counts; a tiny run must pass as a whole.
[ "${1:-}" != --fast ] || exit "$failed"
