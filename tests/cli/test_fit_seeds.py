import json
import re

import pytest

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--finetuning", "LinearProbe", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"),
]


def test_each_seed_is_a_run_and_the_spread_is_printed(run_tltool, images, tmp_path):
    status, out, _ = run_tltool("fit", images, *SMALL, "--seeds", 2, "--run_dir", "a")
    assert status == 0
    assert [path.name for path in sorted(tmp_path.glob("a*"))] == ["a", "a_seed1"]
    assert "seeds     0, 1: mean +- standard deviation\n" in out
    found = re.findall(r"^\w+ +this run (\d\.\d+), the", out, re.MULTILINE)
    assert re.search(rf"^this run .* \({found[0]}, {found[1]}\)$", out, re.MULTILINE)


def test_the_id_of_a_sweeps_agent_is_that_of_the_first_seed(
    run_tltool, images, tmp_path, monkeypatch
):
    monkeypatch.setenv("WANDB_RUN_ID", "given")
    wandb = ("--wandb.project", "test", "--wandb.offline", "true")
    run_tltool("fit", images, *SMALL, *wandb, "--seeds", 2, "--run_dir", "a")
    first, second = (
        json.loads((tmp_path / name / "wandb_run.json").read_text())["id"]
        for name in ("a", "a_seed1")
    )
    assert (first, second != "given") == ("given", True)


def test_seeds_that_are_over_are_not_trained_again(run_tltool, images):
    command = ("fit", images, *SMALL, "--seeds", 2, "--run_dir", "a")
    run_tltool(*command)
    status, out, _ = run_tltool(*command)
    assert (status, out.count("finished  a")) == (0, 2)
    assert "none was measured (2 of 2 not measured)" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", 0], "at least 1, got 0"),
        (["--seeds", 2, "--seed_everything", "false"], "Set that to a number"),
        (["--seeds", 2, "--trainer.devices", 2], "on one device"),
        (["--seeds", 2, "--ckpt_path", "a/last.ckpt"], "and a/last.ckpt is of one run. Leave out"),
    ],
)
def test_seeds_that_cannot_be_are_refused(run_tltool, images, options, message):
    status, _, err = run_tltool("fit", images, *SMALL, *options)
    assert (status, message in err) == (1, True)
