#!/usr/bin/env bash
# Fine-tune a real pretrained network on real photos, without a hub and without an account.
#
#   scripts/quickstart.sh           solar cells, intact or defective (elpv-dataset, CC-BY-NC-SA-4.0)
#   scripts/quickstart.sh FOLDER    your photos: FOLDER/<class>/*
set -euo pipefail
photos=${1:+$(realpath "$1")}
source "$(dirname "$0")/environment.sh" quickstart

if [ -n "$photos" ]; then
  tltool fit --data.root "$photos" --name quickstart
else
  tltool fit --config configs/quickstart.yaml
fi
tltool report runs/quickstart
