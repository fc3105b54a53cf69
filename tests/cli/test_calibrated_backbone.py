"""Commands that build a fresh backbone calibrate its edits on the training images."""

import json

import pytest
import torch

from tltool.training.image_task import ImageTask

EDITS = [
    {"swap_activations": {"to": "gelu", "match": "moments"}},
    {"reestimate_statistics": {"blend": 0.1, "only": "layer4.*"}},
]


@pytest.fixture
def words(images, tmp_path):
    return [
        *("--data.root", images, "--runs_dir", tmp_path / "runs", "--name", "mine"),
        *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
        *("--model.backbone.img_size", "32", "--model.backbone.surgery", json.dumps(EDITS)),
        *("--data.num_workers", "0", "--data.batch_size", "8", "--trainer.accelerator", "cpu"),
        *("--trainer.max_epochs", "1", "--seed_everything", "0"),
    ]


def test_fit_and_report(run_tltool, words, tmp_path):
    status, _, errors = run_tltool("fit", *words)
    assert status == 0, errors
    run = tmp_path / "runs" / "mine" / "0"
    task = ImageTask.load_from_checkpoint(run / "checkpoints" / "best.ckpt")
    assert not task.backbone.needs_calibration
    assert not torch.equal(task.backbone.model.layer1[0].act1.scale, torch.ones(24))
    status, _, errors = run_tltool("report", run)
    assert status == 0, errors


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["features", "compute"],
        ["doctor"],
        ["plan", "--lr_range", "--lr_range_steps", "10"],
        ["plan", "--advise"],
        ["compare", "--axes.depth", "0", "--axes.seed", "0"],
    ],
    ids=" ".join,
)
def test_commands(run_tltool, words, command):
    status, _, errors = run_tltool(*command, *words)
    assert status == 0, errors
