"""Environments of other tools, which pip fills once."""

import subprocess
import sys

from results import FOLDER


def interpreter(*packages: str) -> str:
    """Return the interpreter of an environment with some packages; make it if it is not there."""
    folder = FOLDER / "envs" / packages[0]
    python = (folder / "bin" / "python").absolute()
    whole = folder / "whole"  # Missing where pip was cut short.
    if not whole.is_file():
        print(f"installing {packages[0]} into {folder} (a few minutes, once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        whole.touch()
    return str(python)
