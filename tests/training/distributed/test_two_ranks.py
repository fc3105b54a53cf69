"""Two gloo processes stay one model: after each unfreeze, after a resume, and with one process."""

import runpy
from pathlib import Path
from typing import get_args

import pytest
import torch

from tltool.finetuning.phase import BatchNormMode, Phase
from tltool.training.callbacks.finetuning import Finetuning
from tltool.training.distributed.rank_agreement import (
    average_batch_norm_,
    check_same_trainable,
    check_same_weights,
)

support = runpy.run_path(str(Path(__file__).parents[1] / "conftest.py"))
Phases, edit_ = support["Phases"], support["edit_"]
JOB = Path(__file__).with_name("two_ranks_job.py")
QUICK = [
    "unfreeze resnet",
    "without rebuilding",
    "another schedule",
    "another configuration",
    "a changed weight",
    "a changed weight, then an unfreeze",
    "a directory",
    "a checkpoint",
    "a metric",
    "one and two",
    "one and two, edited",
]
SLOW = [
    "unfreeze efficientnet",
    "unfreeze vit",
    "resume resnet",
    "resume efficientnet",
    "resume vit",
    "sharded",
    "batch norms",
]


@pytest.fixture(scope="module")
def run_job(run_two_ranks, tmp_path_factory):
    """Return a function that runs scenarios in one pair of processes, and gives both's results."""

    def run(name, scenarios):
        folder = tmp_path_factory.mktemp(name)
        run_two_ranks(JOB, folder, *scenarios)
        return {
            scenario: [torch.load(folder / f"{scenario} {rank}.pt") for rank in range(2)]
            for scenario in scenarios
        }

    return run


@pytest.fixture(scope="module")
def quick(run_job):
    return run_job("quick", QUICK)


@pytest.fixture(scope="module")
def slow(run_job):
    return run_job("slow", SLOW)


def assert_equal_over_ranks(steps, other_steps):
    assert len(steps) == len(other_steps) > 0
    for tensors, others in zip(steps, other_steps, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(tensors, others, strict=True))


def test_weights_are_equal_after_each_step_of_each_phase(quick):
    rank_0, rank_1 = quick["unfreeze resnet"]
    assert_equal_over_ranks(rank_0["weights"], rank_1["weights"])


def test_running_statistics_are_equal_before_each_validation(quick):
    rank_0, rank_1 = quick["unfreeze resnet"]
    assert_equal_over_ranks(rank_0["buffers"], rank_1["buffers"])


def test_a_probe_sums_the_gradients_of_the_head_alone(quick):
    for result in quick["unfreeze resnet"]:
        assert result["bytes"][:4] == [4 * result["head"]] * 4
        assert result["bytes"][4:8] == [4 * result["total"]] * 4
        assert 4 * result["head"] < result["bytes"][8] < 4 * result["total"]


def test_all_ranks_take_the_run_directory_of_rank_0(quick):
    first, second = quick["a directory"]
    assert first == second
    assert first.endswith("run of 0/last.ckpt")


def test_a_rank_that_finds_another_checkpoint_stops_all(quick):
    for message in quick["a checkpoint"]:
        assert "The checkpoint is None on rank 1 and last.ckpt on rank 0" in message


def test_without_rebuilding_the_wrapper_the_guard_stops_and_names_a_parameter(quick):
    for message in quick["without rebuilding"]:
        assert "45 of 47 parameters differ between ranks, first 'backbone.model.conv1" in message


def test_ranks_with_another_schedule_are_told_apart(quick):
    for message in quick["another schedule"]:
        assert "Rank 1 trains 11 parameters and rank 0 trains 2 parameters" in message


def test_ranks_with_another_configuration_are_told_apart(quick):
    for message in quick["another configuration"]:
        assert message.startswith("Rank 1 (")
        assert "data.root is images1 and not images0. Start all ranks with the same" in message


@pytest.mark.parametrize("scenario", ["a changed weight", "a changed weight, then an unfreeze"])
def test_a_weight_that_one_rank_changes_is_named(quick, scenario):
    for message in quick[scenario]:
        assert "1 of 47 parameters differ between ranks, first 'head.1.bias'" in message


def test_ranks_that_see_another_metric_decide_alike(quick):
    rank_0, rank_1 = quick["a metric"]
    assert rank_0["names"] == rank_1["names"] == ["probe"] * 4 + ["all"] * 2
    assert_equal_over_ranks(rank_0["weights"], rank_1["weights"])


@pytest.mark.parametrize(
    ("scenario", "name", "edit"),
    [("one and two", "test_vit", lambda task: task), ("one and two, edited", "test_resnet", edit_)],
    ids=["plain", "edited norms and activations"],
)
def test_one_process_agrees_with_two(quick, make_task, fit, scenario, name, edit):
    phases = Phases(Phase("probe", ("head",), epochs=1), Phase("all", ("*",), warmup=0.2))
    task = edit(make_task(name, dropout=0.0))
    trainer = fit(task, Finetuning(phases), max_epochs=3)  # 4 images in a batch, twice 2 there
    theirs, _ = quick[scenario]
    assert theirs["steps"] == trainer.global_step == 12
    torch.testing.assert_close(theirs["weights"], [p.detach() for p in task.parameters()])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet", "vit"])
def test_other_families_are_equal_over_ranks_too(slow, name):
    rank_0, rank_1 = slow[f"unfreeze {name}"]
    assert_equal_over_ranks(rank_0["weights"], rank_1["weights"])
    assert rank_0["bytes"][:4] == [4 * rank_0["head"]] * 4


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [1, 2, 3])
@pytest.mark.parametrize("name", ["resnet", "efficientnet", "vit"])
def test_two_ranks_resume_at_each_epoch_to_the_last_bit(slow, name, epochs):
    for result in slow[f"resume {name}"]:
        pairs = zip(result["straight"], result[epochs], strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("distributed", [True, False])
def test_sharded_weights_become_those_of_replicated_ones(slow, distributed):
    for result in slow["sharded"]:
        pairs = zip(result["replicated"], result[distributed, 0], strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [1, 2, 3])
@pytest.mark.parametrize("distributed", [True, False])
def test_sharded_weights_resume_at_each_epoch_to_the_last_bit(slow, distributed, epochs):
    for result in slow["sharded"]:
        pairs = zip(result[distributed, 0], result[distributed, epochs], strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("mode", get_args(BatchNormMode))
@pytest.mark.parametrize("is_sharded", [True, False])
def test_batch_norms_of_each_mode_resume_to_the_last_bit(slow, mode, is_sharded):
    for result in slow["batch norms"]:
        runs = result[mode, is_sharded]
        for kind in ("weights", "statistics"):
            torch.testing.assert_close(
                runs["resumed"][kind], runs["straight"][kind], rtol=0, atol=0
            )


@pytest.mark.slow
@pytest.mark.parametrize("mode", get_args(BatchNormMode))
def test_batch_norms_of_each_mode_train_sharded_as_replicated(slow, mode):
    for result in slow["batch norms"]:
        sharded, replicated = (result[mode, shards]["straight"] for shards in (1, 0))
        for kind in ("weights", "statistics"):
            torch.testing.assert_close(sharded[kind], replicated[kind], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mode", get_args(BatchNormMode))
@pytest.mark.parametrize("is_sharded", [True, False])
def test_ranks_have_the_same_running_statistics_after_each_step(slow, mode, is_sharded):
    rank_0, rank_1 = (rank[mode, is_sharded]["straight"]["steps"] for rank in slow["batch norms"])
    assert_equal_over_ranks(rank_0, rank_1)


@pytest.mark.slow
@pytest.mark.parametrize("is_sharded", [True, False])
@pytest.mark.parametrize(
    ("mode", "moves"), [("train", True), ("adapt", True), ("eval", False), ("frozen", False)]
)
def test_running_statistics_move_in_the_modes_that_say_so(slow, mode, moves, is_sharded):
    for result in slow["batch norms"]:
        run = result[mode, is_sharded]["straight"]
        pairs = zip(run["before"], run["statistics"], strict=True)
        assert all(torch.equal(a, b) for a, b in pairs) != moves


@pytest.mark.slow
@pytest.mark.parametrize("is_sharded", [True, False])
@pytest.mark.parametrize(
    ("mode", "trains"), [("train", True), ("adapt", False), ("eval", True), ("frozen", False)]
)
def test_weights_of_batch_norms_train_in_the_modes_that_say_so(slow, mode, trains, is_sharded):
    for result in slow["batch norms"]:
        weight = result[mode, is_sharded]["straight"]["weights"][
            "backbone.model.layer1.0.bn1.weight"
        ]
        assert torch.equal(weight, torch.ones_like(weight)) != trains


def test_one_process_needs_no_guards():
    model = torch.nn.BatchNorm1d(2)
    check_same_weights(model)
    check_same_trainable(["weight"])
    average_batch_norm_([model])
    assert torch.equal(model.running_mean, torch.zeros(2))
