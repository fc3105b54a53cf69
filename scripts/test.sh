#!/usr/bin/env bash
# Run all checks. Without arguments: the fast tier. --all: everything, as CI does. --slurm: only the batch scripts, on a Slurm
# that is started (and, as root on Debian, installed) on this machine. --gpu: only what needs a CUDA GPU; each of
# these tests has a twin on the CPU among the others. Further arguments go to pytest.
set -euo pipefail
source "$(dirname "$0")/environment.sh" dev
tier=(-m "not slow")
if [ "${1:-}" = --all ]; then
  tier=()
  shift
fi
# Two processes on two cores, one thread each: more threads only wait for each other.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
if [ "${1:-}" = --slurm ]; then
  exec pytest -m slurm tests/slurm "${@:2}"
fi
if [ "${1:-}" = --gpu ]; then
  exec pytest -m gpu tests/test_configs.py tests/training/distributed/test_signals.py "${@:2}"
fi

ruff check .
ruff format --check .
mypy
lint-imports
pytest -n "${TEST_PROCESSES:-2}" --dist loadfile "${tier[@]}" "$@"
