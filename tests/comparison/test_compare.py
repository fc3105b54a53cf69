"""What `compare_heads` says of heads, and what it looks at to say it."""

import csv
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tltool.comparison.compare import compare_heads
from tltool.comparison.training_settings import TrainingSettings
from tltool.comparison.variants import Variant
from tltool.evaluation.paired_differences import estimate_score

SMALL = {"hidden_features": [8]}
SETTINGS = TrainingSettings(epochs=4, batch_size=16)
SPLITS = ["train"] * 45 + ["val"] * 15 + ["test"] * 30
#: No unit of it ever learns: each is off for all images.
BLIND = SMALL | {"initializer": "zeros", "bias": -1.0}
NOT_FINITE = torch.full((90, 8), 0.5)
NOT_FINITE[3, 2] = torch.nan
TWO = {"relu": Variant(SMALL), "gelu": Variant(SMALL | {"activation": "gelu"})}


@pytest.fixture
def compare(clouds):
    """Compare two heads on 90 points in three clouds, unless told otherwise."""

    def run(variants=TWO, *, data=clouds, settings=SETTINGS, num_folds=3, seeds=2, **options):
        return compare_heads(
            *data, variants, settings=settings, num_folds=num_folds, seeds=seeds, **options
        )

    return run


def test_a_head_that_cannot_learn_is_found_and_said_first(compare, make_clouds):
    heads = {"relu": Variant(SMALL), "blind": Variant(BLIND)}
    found = compare(
        heads, data=make_clouds(120, distance=3.0), settings=TrainingSettings(epochs=8), seeds=4
    )
    assert [d.name for d in found.findings] == ["blind"]
    assert found.summary().startswith("Beyond noise: blind is worse than relu (-0.")


def test_no_difference_is_a_result_with_the_images_that_it_would_take(compare):
    found = compare()
    assert found.summary().startswith("No difference beyond noise. To see")
    assert "images" in found.summary()


def test_all_units_of_a_head_that_cannot_learn_are_dead(compare):
    row = compare({"blind": Variant(BLIND)}).rows[0]
    assert (row.dead, row.saturated) == (1, 1)


def test_the_test_split_chooses_nothing(compare, clouds):
    features, labels = clouds
    wrong = labels.clone()
    wrong[60:] = (wrong[60:] + 1) % 3
    one, other = (compare(data=(features, y), splits=SPLITS) for y in (labels, wrong))
    for first, second in zip(one.rows, other.rows, strict=True):
        assert (first.lr, first.val_losses) == (second.lr, second.val_losses)
        assert first.result.mean > 0.6 > 0.3 > second.result.mean


def test_in_cross_validation_every_image_is_tested_for_each_seed(compare):
    found = compare(seeds=[3, 5])
    assert found.per_image["relu"].shape == (2, 90)
    assert found.protocol.startswith("2 times 3 stratified folds of 90 images: one tests, the")


def test_groups_are_what_is_sampled(compare):
    by_image, by_group = compare(), compare(groups=[row // 3 for row in range(90)])
    assert by_group.protocol.startswith("2 times 3 group-wise folds")
    assert by_group.rows[0].result.images_per_unit == 3
    assert by_image.rows[0].result.images_per_unit == 1


def test_a_fixed_lr_leaves_validation_to_test(compare):
    found = compare(splits=["train"] * 60 + ["val"] * 30, lr=0.01)
    assert found.protocol.endswith("accuracy on 30 validation images, which chose nothing")
    assert [row.lr for row in found.rows] == [0.01, 0.01]
    assert [row.sensitivity for row in found.rows] == [None, None]


def test_a_choice_at_the_edge_goes_on_beyond_it_and_is_said_if_it_stays_there(compare):
    tiny = {"name": "SGD", "lr": 1e-7}
    (row,) = compare({"slow": Variant(SMALL, tiny)}, splits=SPLITS, seeds=1).rows
    assert row.lr > 3e-7
    assert row.at_edge == 1


def test_each_head_has_its_own_lr(compare):
    lrs = {"SGD": 0.1, "Adam": 1e-3}
    heads = {name: Variant(SMALL, {"name": name, "lr": lr}) for name, lr in lrs.items()}
    sgd, adam = (row.lr for row in compare(heads, splits=SPLITS).rows)
    assert sgd > 3 * adam


def test_heads_come_out_the_same_in_any_company(compare):
    heads = TWO | {"relu, zeros": Variant(SMALL | {"initializer": "zeros"})}
    alone, together = compare({"relu": TWO["relu"]}), compare(heads)
    assert together.row("relu").result.mean == pytest.approx(alone.rows[0].result.mean, abs=0.02)
    torch.testing.assert_close(
        together.row("relu").train_losses, alone.row("relu").train_losses, rtol=0, atol=1e-5
    )


def test_an_input_norm_is_fitted_on_what_trains(compare, clouds):
    features, labels = clouds
    heads = {"standardize": Variant(SMALL | {"input_norm": "standardize"})}
    shifted = features.clone()
    shifted[45:] += 100
    one, other = (
        compare(heads, data=(x, labels), splits=SPLITS, lr=0.01) for x in (features, shifted)
    )
    assert one.rows[0].train_losses == other.rows[0].train_losses


def test_a_head_with_an_input_norm_equals_one_on_normalized_features(compare, clouds):
    features, labels = clouds
    train = features[:45].double()
    normalized = ((features - train.mean(0)) / train.std(0, unbiased=False)).float()
    norm = {"head": Variant(SMALL | {"input_norm": "standardize"})}
    with_norm = compare(norm, splits=SPLITS)
    by_hand = compare({"head": Variant(SMALL)}, data=(normalized, labels), splits=SPLITS)
    assert with_norm.rows[0].train_losses == pytest.approx(by_hand.rows[0].train_losses, abs=1e-4)


def test_the_table_has_all_that_a_row_knows(compare, tmp_path):
    found = compare()
    found.write_csv(tmp_path / "compare.csv")
    with (tmp_path / "compare.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert float(first["accuracy"]) == pytest.approx(found.rows[0].result.mean)
    assert float(second["p_holm"]) == pytest.approx(found.differences[0].p_value)
    assert {"epochs_to_loss", "sensitivity", "dead_units", "seconds"} < set(first)


def test_the_result_of_a_head_is_a_share(compare):
    found = compare()
    assert found.rows[0].result == estimate_score(found.per_image["relu"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "tanh"}, "'tanh' is not among the heads: relu, gelu"),
        ({"seeds": [1, 1]}, "all different"),
        ({"lr": -1.0}, "Leave it out for an `lr` of each head"),
        ({"data": (torch.randn(90, 8), torch.zeros(90, dtype=torch.long))}, "at least 2 classes"),
        ({"data": (torch.randn(90, 8), torch.arange(4))}, r"got \(90, 8\) and \(4,\)"),
        ({"data": (NOT_FINITE, torch.arange(90) % 2)}, "of 1 image .* not finite.*preprocessing"),
        ({"settings": TrainingSettings(class_weights=[1.0] * 4)}, "one weight .* 3 classes, got 4"),
        ({"variants": {"a": Variant({"activation": "rleu"})}}, "Did you mean 'relu'"),
    ],
)
def test_bad_input_is_refused_before_anything_trains(compare, options, message):
    with pytest.raises(ValueError, match=message):
        compare(**options)


def test_class_weights_that_are_all_the_same_change_nothing(compare):
    settings = [replace(SETTINGS, class_weights=weights) for weights in (None, [9.0] * 3)]
    variants = {"one": Variant(SMALL, "SGD"), "two": Variant(SMALL | {"activation": "gelu"}, "SGD")}
    plain, weighted = (compare(variants, settings=each) for each in settings)
    assert [row.lr for row in plain.rows] == [row.lr for row in weighted.rows]
    assert torch.equal(plain.per_image["one"], weighted.per_image["one"])


def test_one_head_under_two_names_is_one_head(compare):
    (difference,) = compare({"first": TWO["relu"], "second": TWO["relu"]}).differences
    assert (difference.estimate.mean, difference.p_value) == (0, 1)


@pytest.mark.parametrize("report", ["test", pytest.param("folds", marks=pytest.mark.slow)])
def test_equal_heads_hardly_ever_give_a_finding(report):
    script = Path(__file__).parents[2] / "scripts" / "benchmark" / "noise.py"
    noise = runpy.run_path(str(script))
    assert noise["count_findings"](3, report) <= 1


def test_a_learning_rate_at_which_training_diverges_is_never_chosen(compare, monkeypatch):
    monkeypatch.setattr("tltool.comparison.lr_selection.FACTORS", (1.0, 1e38))
    monkeypatch.setattr("tltool.comparison.lr_selection.WIDER", ())
    row = compare({"linear": Variant({})}).rows[0]
    assert row.lr < 1
    assert row.warnings == []


def test_heads_that_all_diverge_are_no_comparison(compare):
    with pytest.raises(ValueError, match=r"diverged: .* from lr 1e\+30 on\. Set a lower --lr"):
        compare(lr=1e30)


def test_a_head_that_diverges_among_others_is_said(compare):
    wild = Variant(SMALL, optimizer={"name": "SGD", "lr": 1e30})
    assert "diverged" in str(compare({"relu": Variant(SMALL), "wild": wild}).rows)
