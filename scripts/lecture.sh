#!/usr/bin/env bash
# The lecture's claims as experiments on real data, and one page of them; under ten minutes on two cores.
# Usage: scripts/lecture.sh [ARGUMENTS of tltool compare]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh" lecture
exec tltool compare --lecture "$@"
