"""The model card: what it says comes from checkpoint and run, and what is missing is said."""

import re
from dataclasses import replace
from functools import partial

import pytest
import torch
import yaml

from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.multi_label import MultiLabelPredictions
from tltool.evaluation.regression import RegressionPredictions
from tltool.models.backbone import Backbone
from tltool.models.heads import Head
from tltool.reporting.card.card_facts import CardFacts
from tltool.reporting.card.card_metrics import measures, weak_classes
from tltool.reporting.card.licenses import Licenses
from tltool.reporting.card.model_card import card_path, model_card
from tltool.reporting.markdown import code_block
from tltool.training.callbacks.ending_files import last_epoch
from tltool.training.image_task import ImageTask

CHECKPOINT = {
    "run_facts": {
        "images": {"train": torch.zeros(80, device="meta"), "val": torch.zeros(20, device="meta")},
        "versions": {"timm": "1.0.31"},
        "commit": "0123abc",
        "world_size": 2,
    },
    "config": {
        "seed_everything": 7,
        "data": {"class_path": "tltool.ImageFolderDataModule", "init_args": {"root": "/me/bugs"}},
    },
    "global_step": 120,
}


@pytest.fixture(scope="module")
def task():
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    return ImageTask(backbone, Head, num_classes=2, class_names=["ants", "bees"])


@pytest.fixture
def make_card(task):
    """Return a function that makes the card of an export to timm."""

    def make(**facts):
        usual = {"checkpoint": CHECKPOINT, "licenses": Licenses("apache-2.0", "unknown")}
        return model_card(
            CardFacts(**{"name": "best", "to": "timm", "task": task, **usual, **facts})
        )

    return make


def matter(card):
    return yaml.safe_load(card.split("---\n")[1])


def of_kind(predictions, names):
    made = partial(MeasuredSplit, split="test", class_names=names, paths=[], names=[], groups=None)
    return made(predictions=predictions, baselines={})


def test_the_front_matter_has_what_the_hub_files_models_by(make_card, measured_split):
    found = matter(make_card(evaluation=measured_split(run=90, probe=50)))
    assert found["library_name"] == "timm"
    assert found["pipeline_tag"] == "image-classification"
    assert {"tltool", "test_resnet"} <= set(found["tags"])
    assert found["metrics"][0] == "accuracy"
    (result,) = found["model-index"][0]["results"]
    assert result["metrics"][0] == {"type": "accuracy", "value": 0.9, "name": "accuracy"}
    assert result["dataset"]["name"] == "bugs"


def test_metrics_have_intervals_and_the_images_that_they_are_of(make_card, measured_split):
    card = make_card(evaluation=measured_split(run=90, probe=50))
    assert "On 100 val images, which chose the weights too." in card
    assert "| accuracy | 0.900 | 0.826 to 0.945 |" in card
    assert "| macro F1 | 0.900 |" in card
    assert "slightly optimistic" in card


def test_validation_images_that_chose_nothing_are_not_called_optimistic(make_card, measured_split):
    ended = {**CHECKPOINT, "ending": last_epoch(ends_on_validation=False)}
    card = make_card(evaluation=measured_split(run=90, probe=50), checkpoint=ended)
    assert "which chose nothing" in card
    assert "| weights are | last epoch |" in card
    assert "optimistic" not in card


@pytest.mark.parametrize(
    ("ending", "has_steps"),
    [({"candidate": "start"}, False), (last_epoch(ends_on_validation=False), True)],
    ids=["start", "last epoch"],
)
def test_weights_that_no_step_has_left_have_no_number_of_steps(make_card, ending, has_steps):
    card = make_card(checkpoint={**CHECKPOINT, "ending": ending})
    assert ("| steps of this checkpoint | 120 |" in card) is has_steps


def test_the_best_epoch_of_a_run_that_did_not_come_to_its_last_one_is_optimistic(
    make_card, measured_split
):
    config = {**CHECKPOINT["config"], "ending": {"choose": "last"}}
    killed = {**CHECKPOINT, "config": config}
    card = make_card(evaluation=measured_split(run=90, probe=50), checkpoint=killed)
    assert "which chose the weights too" in card


def test_the_interval_of_a_macro_f1_holds_it(measured_split):
    _, (name, value, (low, high)), _ = measures(measured_split(run=90, probe=50))
    assert name == "macro F1"
    assert low < value < high
    assert 0.08 < high - low < 0.16


@pytest.mark.parametrize(
    ("run", "groups"), [(90, [0] * 100), (100, None)], ids=["one group", "all right"]
)
def test_resamples_that_are_all_equal_are_no_interval(make_card, measured_split, run, groups):
    card = make_card(evaluation=measured_split(run=run, probe=50, groups=groups))
    assert f"| macro F1 | {run / 100:.3f} | unknown |" in card
    assert re.search(r"\| calibration error \| 0\.\d{3} \| unknown \|", card)


def test_a_class_that_is_provably_weaker_is_marked(measured_split):
    found = measured_split(run=100, probe=50)
    found.predictions.predicted[::4] = 1  # Half of the ants.
    table = weak_classes(found)
    assert [row[0] for row in table.rows] == ["ants", "bees"]
    assert [row[-1] for row in table.rows] == ["yes", ""]


def test_a_class_that_chance_may_have_made_weaker_is_not_marked(measured_split):
    found = measured_split(run=100, probe=50)
    found.predictions.predicted[0] = 1  # One of 50 ants.
    assert [row[-1] for row in weak_classes(found).rows] == ["", ""]


def test_several_labels_have_average_precisions_of_classes():
    targets = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 1]] * 10)
    found = of_kind(MultiLabelPredictions.of(targets * 0.8 + 0.1, targets), ["ants", "bees"])
    assert [name for name, _, _ in measures(found)] == ["mAP", "exact match"]
    assert weak_classes(found).columns[2] == "average precision"


def test_the_intervals_of_classes_are_those_of_groups():
    targets = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 1]] * 10)
    found = of_kind(MultiLabelPredictions.of(targets * 0.8 + 0.1, targets), ["ants", "bees"])
    grouped = replace(found, groups=[image // 10 for image in range(40)])
    alone, together = (weak_classes(each).rows[0][3] for each in (found, grouped))
    assert alone.partition(" to ")[0] > together.partition(" to ")[0]


def test_a_regression_has_errors_and_no_weak_classes():
    targets = torch.linspace(0, 1, 40)
    found = of_kind(
        RegressionPredictions.of(targets + 0.1 * torch.sin(40 * targets), targets), ["age"]
    )
    assert [name for name, _, _ in measures(found)] == ["MAE", "RMSE", "R2", "Spearman"]
    assert weak_classes(found) is None


def test_splits_versions_commit_steps_and_minutes_are_those_of_the_run(make_card):
    card = make_card(seconds=90.0)
    rows = ["| train | 80 |", "| val | 20 |", "| minutes | 1.5 |", "| commit | 0123abc |"]
    rows += ["| versions | timm 1.0.31 |", "| steps of this checkpoint | 120 |"]
    assert all(row in card for row in rows)
    assert "with seed 7" in card


def test_a_temperature_is_named_where_the_outputs_are_raw(make_card):
    checkpoint = {**CHECKPOINT, "calibration": {"temperature": 1.25}}
    assert "Divide them by the temperature 1.25 first." in make_card(checkpoint=checkpoint)
    assert "temperature" not in make_card(checkpoint=checkpoint, to="onnx")


def test_what_is_missing_is_said(make_card):
    card = make_card(checkpoint={}, missing=["The course of the training: it is gone."])
    assert "Nothing was measured for this card." in card
    assert "How many images each split has is not known." in card
    assert "| minutes | unknown |" in card
    assert "| commit | unknown |" in card
    assert "- The course of the training: it is gone." in card


@pytest.mark.parametrize(
    ("licenses", "of_model"),
    [
        (Licenses("apache-2.0", "unknown"), "unknown"),
        (Licenses("apache-2.0", "cc-by-nc-sa-4.0", "https://example.org"), "other"),
        (Licenses("mit", "mit"), "mit"),
        (Licenses("", "cc-by-4.0"), "cc-by-4.0"),
    ],
)
def test_the_model_has_a_license_where_weights_and_data_agree(make_card, licenses, of_model):
    card = make_card(licenses=licenses)
    assert matter(card)["license"] == of_model
    assert f"- Data: {licenses.data}" in card


def test_names_of_classes_are_no_markup_and_leave_the_front_matter_alone(make_card):
    odd = ["a|b\n---\nlicense: mit", "<script>"]
    backbone = Backbone("test_resnet", weights="random", img_size=32)
    card = make_card(task=ImageTask(backbone, num_classes=2, class_names=odd))
    assert matter(card)["license"] == "unknown"
    assert r"a\|b\\n---\\nlicense: mit, &lt;script>" in card


def test_a_block_of_code_is_closed_by_none_of_its_lines():
    assert code_block("a\n```\nb", "yaml") == ["````yaml", "a\n```\nb", "````"]


def test_a_card_lies_in_the_folder_or_beside_the_file(tmp_path):
    assert card_path(tmp_path) == tmp_path / "README.md"
    assert card_path(tmp_path / "best.pt2") == tmp_path / "best.pt2.md"
