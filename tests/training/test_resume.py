"""A run that is cut anywhere and resumed equals one that is not, to the last bit."""

import multiprocessing
import runpy
from pathlib import Path

import pytest
import torch

from tltool.data.loading.image_dataset import ImageDataset

JOB = Path(__file__).with_name("resume_job.py")
job = runpy.run_path(str(JOB))
CASES, POINTS, train = job["CASES"], job["POINTS"], job["train"]
TWO_RANKS = ["everything", "plain", "accumulation", "adapters", "activations", "class-balanced"]

pytestmark = pytest.mark.filterwarnings(
    "ignore:Checkpoint directory .* is not empty",
    "ignore:.*callbacks used to create the checkpoint need to be provided",
)


def slow_but_first(names):
    return [pytest.param(name, marks=pytest.mark.slow if i else ()) for i, name in enumerate(names)]


@pytest.fixture(scope="module")
def one_process(images, tmp_path_factory):
    """Train straight, once for each case: without saving, and with."""
    folder, results = tmp_path_factory.mktemp("one"), {}

    def run(case):
        if case not in results:
            saving = train(images, case, save_to=folder / case)
            results[case] = {"straight": train(images, case), "saving": saving}
        return results[case]["straight"], results[case]["saving"], folder / case

    return run


def assert_same(resumed, straight):
    assert_equal(resumed["weights"], straight["weights"])
    assert_equal(resumed["optimizer"], straight["optimizer"])
    later = list(resumed["metrics"])[1:]  # The first is from before its start.
    assert {t: resumed["metrics"][t] for t in later} == {t: straight["metrics"][t] for t in later}
    named = {name for name in resumed["metrics"]["end"] if name != "train/penalty"}
    assert named == {"train/loss", "train/accuracy"}


def assert_equal(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys() != set()
        for key in a:
            assert_equal(a[key], b[key])
    else:
        assert torch.equal(a, b)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("case", slow_but_first(CASES))
def test_a_resumed_run_equals_a_straight_one(one_process, images, case, point):
    straight, _, saves = one_process(case)
    assert_same(train(images, case, ckpt_path=saves / f"{point}.ckpt"), straight)


@pytest.mark.slow
@pytest.mark.parametrize("point", job["LATE"])
def test_a_run_resumed_around_a_seam_equals_a_straight_one(one_process, images, point):
    straight, _, saves = one_process("activations")
    assert_same(train(images, "activations", ckpt_path=saves / f"{point}.ckpt"), straight)


def test_a_run_resumed_between_the_batches_of_a_step_equals_a_straight_one(one_process, images):
    straight, _, saves = one_process("accumulation")
    path = saves / f"{job['BEGUN']}.ckpt"
    assert_same(train(images, "accumulation", ckpt_path=path), straight)


@pytest.mark.parametrize("case", slow_but_first(CASES))
def test_saving_changes_nothing(one_process, case):
    straight, saving, _ = one_process(case)
    assert_same(saving, straight)


@pytest.mark.slow
def test_workers_that_are_spawned_equal_those_that_are_forked(one_process, images):
    straight, _, saves = one_process("workers")
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        assert_same(train(images, "workers", ckpt_path=saves / "step 7.ckpt"), straight)
    finally:
        multiprocessing.set_start_method(before, force=True)


def test_images_that_were_trained_on_are_not_decoded_again(one_process, images, monkeypatch):
    *_, saves = one_process("plain")
    decoded, decode = [], ImageDataset._decoded
    monkeypatch.setattr(
        ImageDataset, "_decoded", lambda self, index: decoded.append(index) or decode(self, index)
    )
    train(images, "plain", ckpt_path=saves / "step 12.ckpt", limit_val_batches=0)
    assert len(decoded) == 20 - 2 * 4


@pytest.fixture(scope="module")
def two_ranks(run_two_ranks, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    run_two_ranks(JOB, folder, images, *TWO_RANKS)
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("point", ["saving", *POINTS])
@pytest.mark.parametrize("case", TWO_RANKS)
def test_two_resumed_ranks_equal_two_straight_ones(two_ranks, case, point):
    for rank in two_ranks:
        assert_same(rank[case][point], rank[case]["straight"])


@pytest.mark.slow
def test_two_ranks_train_the_same_adapters(two_ranks):
    one, other = (rank["adapters"]["straight"]["weights"] for rank in two_ranks)
    assert any(name.endswith("lora_b") for name in one)
    assert_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("point", job["LATE"])
def test_two_ranks_resumed_around_a_seam_equal_straight_ones(two_ranks, point):
    for rank in two_ranks:
        assert_same(rank["activations"][point], rank["activations"]["straight"])


@pytest.mark.slow
def test_two_ranks_hold_the_same_weights_behind_a_seam(two_ranks):
    first, second = (rank["activations"]["straight"]["weights"] for rank in two_ranks)
    assert_equal(first, second)


@pytest.mark.slow
def test_two_ranks_resumed_between_the_batches_of_a_step_equal_straight_ones(two_ranks):
    for rank in two_ranks:
        assert_same(rank["accumulation"][job["BEGUN"]], rank["accumulation"]["straight"])


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 7])
def test_two_ranks_count_each_test_image_once(two_ranks, images, number):
    expected = job["evaluate"](images, number)
    for rank in two_ranks:
        assert rank["evaluation"][number]["counted"] == expected["counted"] == number
        metrics = rank["evaluation"][number]["metrics"]
        assert metrics == pytest.approx(expected["metrics"], rel=1e-5, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "steps"),
    [  # 3 or 5 epochs of 4 batches, or 3 without four images
        ("once", {}, 12),
        ("once on activations", job["ON_ACTIVATIONS"], 20),
        ("once class-balanced", job["CLASS_BALANCED"], 9),
    ],
)
def test_two_ranks_train_as_one_process_does(two_ranks, images, name, options, steps):
    one = job["train_once"](images, **options)
    for rank in two_ranks:
        assert rank[name]["steps"] == one["steps"] == steps
        torch.testing.assert_close(rank[name]["weights"], one["weights"], rtol=1e-4, atol=1e-6)
