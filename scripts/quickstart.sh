#!/usr/bin/env bash
# Fine-tune a real pretrained network on real images, without a hub and without an account.
#
#   scripts/quickstart.sh           solar cells, intact or defective (elpv-dataset, CC-BY-NC-SA-4.0)
#   scripts/quickstart.sh FOLDER    your images: FOLDER/<class>/*
set -euo pipefail
images=${1:+$(realpath "$1")}
source "$(dirname "$0")/environment.sh" quickstart

if [ -n "$images" ]; then
  tltool fit --data.root "$images" --name quickstart
else
  tltool fit --config configs/quickstart.yaml
fi
tltool report runs/quickstart
echo "tltool lies at $PWD/.venv/bin/tltool. To type tltool alone: source $PWD/.venv/bin/activate"
