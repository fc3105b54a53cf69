"""The batch scripts of scripts/slurm under a real Slurm: stopped jobs end as whole ones do."""

import csv
import json
import re

import pytest
import torch

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(500)]

TWO_NODES = {"nodes": 2, "ntasks_per_node": 1, "gpus_per_node": 1}


@pytest.fixture(scope="module")
def jobs(cluster):
    """The folder of all runs: one on one node, and the others stopped on two."""
    whole = cluster.submit("one_node.sbatch", "whole", ntasks_per_node=2, gpus_per_node=2)
    cluster.wait(whole)  # Features of other batches, by jobs at once, would differ in a last bit.
    stops = "0:7:usr2 1:11:requeue"
    words = ["--wandb.project", "slurm"]
    stopped = cluster.submit("multi_node.sbatch", "stopped", *words, stops=stops, **TWO_NODES)
    words = ["--save_every_n_steps", "2"]
    killed = cluster.submit("torchrun.sbatch", "killed", *words, stops="0:13:kill", **TWO_NODES)
    (cluster.folder / "variants.txt").write_text("--optimizer.lr 1e-3\n--optimizer.lr 2e-3\n")
    variants = str(cluster.folder / "variants.txt")
    array = cluster.submit("array.sbatch", "variants", variants, array="2-2")
    cluster.wait(stopped, killed, array)
    return cluster


def weights(jobs, run):
    file = jobs.folder / run / "checkpoints" / "last.ckpt"
    return torch.load(file, weights_only=True)["state_dict"]


def assert_same_weights(jobs, run, other):
    states = weights(jobs, run), weights(jobs, other)
    assert states[0].keys() == states[1].keys()
    different = [name for name in states[0] if not torch.equal(states[0][name], states[1][name])]
    assert not different, jobs.logs()


def test_signalled_then_preempted_it_ends_with_the_weights_of_an_uninterrupted_run(jobs):
    assert_same_weights(jobs, "stopped", "whole")


def test_it_was_signalled_and_preempted_in_the_middle_of_epochs(jobs):
    log = (jobs.folder / "stopped.log").read_text()
    ends = re.findall(r'"state": "(\w+)", "step": (\d+)', log)
    assert [state for state, _ in ends] == ["unfinished", "unfinished", "finished"], log
    assert [int(step) for _, step in ends[:2]] == [8, 12], log  # Epochs have 5 steps.


def test_it_is_one_run_in_one_directory_with_one_id(jobs):
    parts = (jobs.folder / "stopped" / "wandb").glob("offline-run-*")
    ids = [part.name.rpartition("-")[2] for part in parts]
    assert (len(ids), len(set(ids))) == (3, 1)


def test_each_epoch_is_in_its_metrics_once(jobs):
    with (jobs.folder / "stopped" / "metrics.csv").open() as file:
        epochs = [row["epoch"] for row in csv.DictReader(file) if row.get("val/accuracy")]
    assert epochs == ["0", "1", "2"]


def test_torchrun_starts_all_ranks_anew_when_one_is_killed(jobs):
    log = (jobs.folder / "killed.log").read_text()
    assert "Signal 9 (SIGKILL)" in log or "exitcode: -9" in log, log
    assert_same_weights(jobs, "killed", "whole")


def test_a_task_of_an_array_trains_with_its_line_of_options(jobs):
    run_dir = jobs.folder / "variants" / "2"
    assert "lr: 0.002" in (run_dir / "config.yaml").read_text(), jobs.logs()
    assert json.loads((run_dir / "status.json").read_text())["state"] == "finished"
