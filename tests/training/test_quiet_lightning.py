"""A run from Python is as quiet as one of the command line."""

import logging
import os
import subprocess
import sys

import pytest

from tltool.training.quiet_lightning import quiet_lightning

SCRIPT = """
import sys
from lightning.pytorch import Trainer
import tltool

if __name__ == "__main__":
    backbone = tltool.Backbone("test_resnet", weights="random", img_size=32)
    data = tltool.ImageFolderDataModule(
        sys.argv[1], batch_size=8, num_workers=0, data_config=backbone.data_config
    )
    task = tltool.ImageTask(backbone, num_classes=data.num_classes)
    options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    trainer = Trainer(
        max_epochs=1, enable_progress_bar=False, enable_model_summary=False, **options
    )
    trainer.fit(task, data)
"""


def test_a_run_from_python_shows_no_advertisement_and_no_advice_on_workers(images, tmp_path):
    (tmp_path / "run.py").write_text(SCRIPT)
    found = subprocess.run(
        [sys.executable, "run.py", images],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    noise = ("Tip", "GPU available", "workers", "litlogger")
    assert [line for line in found.stderr.splitlines() if any(word in line for word in noise)] == []


@pytest.fixture
def lightning_logger():
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    yield logger
    logger.setLevel(level)


def test_a_level_that_the_user_has_set_is_kept(lightning_logger):
    lightning_logger.setLevel(logging.DEBUG)
    quiet_lightning()
    assert lightning_logger.level == logging.DEBUG


def test_lightnings_own_level_is_raised_to_warnings(lightning_logger):
    lightning_logger.setLevel(logging.INFO)
    quiet_lightning()
    assert lightning_logger.level == logging.WARNING
