"""Several classes for each image, and numbers: trained, resumed, rebuilt, on one and two ranks."""

import csv
import runpy
import shutil
from pathlib import Path

import pytest
import torch
from sklearn.linear_model import Ridge
from torch.nn import functional

from tltool.features.cache import cached_features
from tltool.models.target_probe import fit_probe, probe_logits
from tltool.training.callbacks.checkpoints import BestCheckpoint
from tltool.training.checkpoint_io import TASK
from tltool.training.head_start import start_head_
from tltool.training.image_task import ImageTask

JOB = Path(__file__).with_name("labels_job.py")
job = runpy.run_path(str(JOB))
OBJECTIVES, MONITORS = job["OBJECTIVES"], job["MONITORS"]
train, make_data, make_task = job["train"], job["make_data"], job["make_task"]

pytestmark = pytest.mark.filterwarnings(
    "ignore:Checkpoint directory .* is not empty",
    "ignore:.*callbacks used to create the checkpoint need to be provided",
)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return job["write_tables"](tmp_path_factory.mktemp("labels") / "images")


@pytest.fixture(scope="module")
def runs(tables, tmp_path_factory):
    """A run of two epochs of each objective: its folder, its Trainer and its task."""
    folder = tmp_path_factory.mktemp("runs")
    return {name: (folder / name, *train(tables, folder / name, name)) for name in OBJECTIVES}


@pytest.fixture
def task(tables):
    return lambda objective, **options: make_task(make_data(tables, objective), **options)


def stored(run_dir, name="best.ckpt"):
    return torch.load(run_dir / "checkpoints" / name, weights_only=True)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_checkpoint_alone_rebuilds_what_is_predicted(runs, objective):
    run_dir, _, task = runs[objective]
    images = torch.randn(4, 3, 32, 32)
    last = ImageTask.load_from_checkpoint(run_dir / "checkpoints" / "last.ckpt")
    task.eval()
    torch.testing.assert_close(
        last.predictions(last(images)), task.predictions(task(images)), rtol=0, atol=0
    )


@pytest.mark.parametrize("step", job["STEPS"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_resumed_run_ends_as_a_straight_one(runs, tables, tmp_path, objective, step):
    straight, resumed = runs[objective][0], tmp_path / "run"
    shutil.copytree(straight, resumed)
    train(tables, resumed, objective, ckpt_path=resumed / "checkpoints" / f"step {step}.ckpt")
    for name in ("last.ckpt", "best.ckpt"):
        one, other = stored(straight, name), stored(resumed, name)
        weights = other["state_dict"]
        assert all(torch.equal(each, weights[key]) for key, each in one["state_dict"].items())
        assert one[TASK] == other[TASK]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_best_ckpt_holds_the_candidate_with_the_best_score(runs, objective):
    run_dir, _, _ = runs[objective]
    with (run_dir / "ending.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    score = MONITORS[objective].removeprefix("val/")
    best = (max if objective == "multi_label" else min)(float(row[score]) for row in rows)
    start = next(float(row[score]) for row in rows if row["candidate"] == "start")
    chosen = next(row for row in rows if row["chosen"] == "yes")
    assert float(chosen[score]) in (best, start)


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [("val/mae", "min"), ("val/rmse", "min"), ("val/map", "max"), ("val/r2", "max")],
)
def test_errors_are_best_where_they_are_least(tmp_path, monitor, mode):
    assert BestCheckpoint(tmp_path, monitor).mode == mode


def test_thresholds_are_chosen_on_validation_images_and_stored_as_a_plain_list(runs):
    run_dir, _, task = runs["multi_label"]
    thresholds = stored(run_dir)[TASK]["thresholds"]
    assert [type(each) for each in thresholds] == [float] * 3
    path = run_dir / "checkpoints" / "best.ckpt"
    assert ImageTask.load_from_checkpoint(path).thresholds == thresholds == task.thresholds


def test_thresholds_that_a_kill_prevented_are_chosen_by_the_next_start(runs, tables, tmp_path):
    straight, resumed = runs["multi_label"][0], tmp_path / "run"
    shutil.copytree(straight, resumed)
    best = stored(resumed)
    chosen, best[TASK]["thresholds"] = best[TASK]["thresholds"], None
    torch.save(best, resumed / "checkpoints" / "best.ckpt")
    train(tables, resumed, "multi_label", ckpt_path=resumed / "checkpoints" / "last.ckpt")
    assert stored(resumed)[TASK]["thresholds"] == chosen


def test_a_regression_predicts_in_the_units_of_its_target(runs, tables):
    _, _, task = runs["regression"]
    task.eval()
    batch = next(iter(make_data(tables, "regression").evaluation_dataloader("val")))
    with torch.no_grad():
        values = task.outputs(task.predictions(task.logits(batch)))["values"]
    assert 10 < float(values.mean()) < 45  # The targets are about 20 to 35.


def test_a_resumed_regression_keeps_the_scale_that_its_head_has_learned(runs, tables):
    run_dir, _, trained = runs["regression"]
    other = make_task(make_data(tables, "regression"), target_stats={"mean": 0.0, "std": 9.0})
    other.on_load_checkpoint(stored(run_dir, "last.ckpt"))
    assert other.target_stats == trained.target_stats


@pytest.mark.parametrize(
    ("options", "reference"),
    [
        ({}, functional.mse_loss),
        ({"regression_loss": "huber"}, functional.huber_loss),
    ],
)
def test_the_loss_of_a_regression_is_of_standardized_targets(task, options, reference):
    made = task("regression", target_stats={"mean": 10.0, "std": 5.0}, **options)
    logits, labels = torch.randn(6, 1), 10 + 20 * torch.rand(6)
    expected = reference(logits[:, 0], (labels - 10) / 5)
    torch.testing.assert_close(made.training_loss(logits, labels), expected)


def test_balanced_weights_are_the_images_without_a_class_for_each_with_it(task):
    counts = {"class_counts": [10, 20, 5], "num_images": 40}
    weighted = task("multi_label", class_weights="balanced", **counts)
    assert weighted.class_weights.tolist() == [3.0, 1.0, 7.0]
    logits, labels = torch.randn(4, 3), torch.randint(2, (4, 3)).float()
    expected = functional.binary_cross_entropy_with_logits(
        logits, labels, pos_weight=torch.tensor([3.0, 1.0, 7.0])
    )
    torch.testing.assert_close(weighted.training_loss(logits, labels), expected)


@pytest.mark.parametrize(
    ("objective", "options", "message"),
    [
        ("regression", {"label_smoothing": 0.1}, "label_smoothing` is not for the objective"),
        ("regression", {"class_weights": "balanced"}, "class_weights` is not for the objective"),
        ("regression", {"log_prior": True}, "log_prior` is not for the objective"),
        ("multi_label", {"log_prior": True}, "log_prior` is not for the objective"),
        ("multi_label", {"regression_loss": "huber"}, "regression_loss` is not for the objective"),
        ("multi_label", {"class_weights": "effective_number"}, "Choose one of: balanced"),
        ("multi_label", {"thresholds": [0.5]}, "must be 3 numbers above 0 and below 1"),
    ],
)
def test_an_option_of_another_objective_is_refused_by_name(task, objective, options, message):
    with pytest.raises(ValueError, match=message):
        task(objective, class_counts=[1, 1, 1], num_images=3, **options)


def test_a_task_and_its_data_must_have_one_objective(tables):
    data = make_data(tables, "multi_label")
    task = ImageTask(make_task(data).backbone, num_classes=3)
    task._trainer = type("T", (), {"datamodule": data})()
    with pytest.raises(ValueError, match=r"objective=data\.objective"):
        task.setup("fit")


@pytest.fixture(scope="module")
def features(tables):
    """Cached features of the training images of both tables, with their labels."""

    def read(objective):
        data = make_data(tables, objective)
        found = cached_features(make_task(data).backbone.eval(), data.dataset("train"))
        return found.tensor().float(), found.labels

    return read


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_probe_of_cached_features_predicts_what_scikit_learn_does(features, objective):
    rows, labels = features(objective)
    number = 3 if objective == "multi_label" else 1
    probe = fit_probe(rows, labels, number, objective=objective)
    scaled = ((rows.double() - probe.mean) / probe.scale).numpy()
    model = Ridge(alpha=probe.penalty, solver="svd").fit(scaled, labels.view(-1, number).numpy())
    predicted = torch.tensor(model.predict(scaled)).view(-1, number)
    share = labels.double().view(-1, number).mean(dim=0)
    odds = share.logit() if objective == "multi_label" else share
    expected = odds + probe.factor * (predicted - share)
    torch.testing.assert_close(probe_logits(probe, rows), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_linear_head_begins_as_the_probe(tables, objective):
    data = make_data(tables, objective)
    task = make_task(data, target_stats=data.target_stats and data.target_stats.plain())
    start_head_(task, data)
    found = cached_features(task.backbone.eval(), data.dataset("train"))
    rows, labels = found.tensor().float(), found.labels
    probe = fit_probe(rows, task.standardized(labels), data.num_classes, objective=objective)
    with torch.no_grad():
        logits = task.head(rows)
    torch.testing.assert_close(logits.double(), probe_logits(probe, rows), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_two_ranks_end_equal_and_count_as_one_does(runs, tables, tmp_path, run_two_ranks):
    run_two_ranks(JOB, tmp_path, tables)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for objective in OBJECTIVES:
        one, other = (rank[objective] for rank in ranks)
        assert all(
            torch.equal(value, other["weights"][name]) for name, value in one["weights"].items()
        )
        assert one["metrics"] == other["metrics"]
        assert one["thresholds"] == other["thresholds"]
        assert one["metrics"].keys() == {*map(str, runs[objective][1].callback_metrics)}
