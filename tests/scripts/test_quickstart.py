"""The quickstart says how to call what it has installed."""

import shutil
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "quickstart.sh"


def test_its_last_line_says_how_to_call_tltool(tmp_path):
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    # In place of what creates .venv and installs tltool into it.
    environment = 'cd "$(dirname "${BASH_SOURCE[0]}")/.."; tltool() { echo "tltool $*"; }\n'
    (tmp_path / "scripts" / "environment.sh").write_text(environment)
    words = ["bash", str(tmp_path / "scripts" / "quickstart.sh")]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert out[-1] == (
        f"tltool lies at {tmp_path}/.venv/bin/tltool. "
        f"To type tltool alone: source {tmp_path}/.venv/bin/activate"
    )
