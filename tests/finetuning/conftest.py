"""The tiny task of the training tests, for schedules and plans."""

import runpy
from pathlib import Path

training = runpy.run_path(str(Path(__file__).parents[1] / "training" / "conftest.py"))
make_task, make_trainer, fit = (training[name] for name in ("make_task", "make_trainer", "fit"))
