"""The advice is the cell of the table that the data lies in, with its doubts."""

from pathlib import Path
from statistics import mean

import pytest
import torch

from tltool.diagnostics.advice.layer_probes import LayerProbes
from tltool.diagnostics.advice.learning_curve import LearningCurve
from tltool.diagnostics.advice.measured_gains import GAINS, MEAN
from tltool.diagnostics.advice.strategy_advice import advise


def probes_of(first, last, num_images=200):
    """Return probes with so many of the images right on the first layer and on the last."""
    index = torch.arange(num_images)
    return LayerProbes({"layer1": index < first, "whole network": index < last})


def curve_of(gain, num_images=200):
    """Return a curve on which a doubling makes this share of the images right."""
    before = torch.zeros(num_images, dtype=torch.float64)
    after = (torch.arange(num_images) < gain * num_images).double()
    return LearningCurve([50, 100], torch.stack([before, after]), [[0.0, 0.0], [gain]])


STEEP, FLAT = curve_of(0.2), curve_of(0.0)
LIKE, UNLIKE = probes_of(100, 180), probes_of(180, 120)


@pytest.mark.parametrize(
    ("probes", "curve", "per_class", "expected", "stop_at"),
    [
        (LIKE, STEEP, 10, "LinearProbe", None),
        (LIKE, STEEP, 100, "LastBlocks", None),
        (LIKE, FLAT, 10, "LastBlocks", None),
        (UNLIKE, STEEP, 10, "LastBlocks", "layer1"),
        (UNLIKE, STEEP, 100, "FullFinetuning", None),
    ],
)
def test_each_cell_of_the_table_is_reached(probes, curve, per_class, expected, stop_at):
    advice = advise(probes, curve, [per_class, per_class], majority=0.5)
    assert type(advice.strategy).__name__ == expected
    assert advice.stop_at == stop_at
    assert advice.doubts == []


def test_a_lead_within_noise_does_not_make_data_unlike_but_is_a_doubt():
    advice = advise(probes_of(122, 120), STEEP, [100, 100], majority=0.5)
    assert advice.likeness == "like"
    assert "--model.backbone.stop_at layer1" in advice.doubts[0]


@pytest.mark.parametrize(
    ("probes", "counts", "majority", "doubt"),
    [
        (probes_of(10, 36, num_images=40), [100, 100], 0.5, "40 validation images are few"),
        (LIKE, [100, 100], 0.9, "most frequent class (0.900)"),
        (LIKE, [100, 5], 0.5, "more than tenfold"),
        (LIKE, [5000, 5000], 0.5, "try FullFinetuning too"),
        (LayerProbes({"whole network": LIKE.correct["layer1"]}), [9, 9], 0.2, "is not known"),
    ],
)
def test_what_makes_the_numbers_doubtful_is_said(probes, counts, majority, doubt):
    advice = advise(probes, STEEP, counts, majority=majority)
    assert any(doubt in sentence for sentence in advice.doubts)


def test_a_flat_curve_on_few_validation_images_proves_nothing():
    advice = advise(LIKE, curve_of(0.0, num_images=40), [10, 10], majority=0.5)
    assert advice.amount == "few"


def test_the_numbers_are_among_the_reasons():
    how_much, how_like = advise(UNLIKE, STEEP, [10, 12], majority=0.5).reasons
    assert "10 to 12 images of a class; the last doubling brought a probe +.200 +- .028" in how_much
    assert "layer1 serves a probe better" in how_like
    assert "+.300 +- .032" in how_like


def test_on_many_unlike_images_the_head_on_the_best_layer_is_the_cheap_alternative():
    advice = advise(UNLIKE, STEEP, [100, 100], majority=0.5)
    assert "LinearProbe --model.backbone.stop_at layer1: a probe on layer1 (.900" in (
        advice.alternative
    )
    assert advise(LIKE, STEEP, [100, 100], majority=0.5).alternative is None


def test_too_few_images_for_a_curve_are_few():
    curve = LearningCurve([4], torch.ones(1, 200, dtype=torch.float64), [[1.0]])
    advice = advise(LIKE, curve, [2, 2], majority=0.5)
    assert advice.amount == "few"
    assert "too few for a learning curve" in advice.reasons[0]


def test_what_is_advised_is_not_advised_as_another_thing_to_try():
    advice = advise(UNLIKE, STEEP, [5000, 5000], majority=0.5)
    assert type(advice.strategy).__name__ == "FullFinetuning"
    assert not any("FullFinetuning" in doubt for doubt in advice.doubts)


def test_the_expected_gains_are_those_of_the_benchmark():
    readme = Path(__file__).parents[3] / "scripts" / "benchmark" / "README.md"
    rows = [line.strip("| \n").split(" | ") for line in readme.read_text("utf-8").splitlines()]
    names = next(row[1:] for row in rows if row[0] == "method" and "brain_mri_10" in row)
    first = next(n for n, row in enumerate(rows) if row[0] == "fit less probe, seed 0")
    seeds = [[float(gain.split()[0]) for gain in row[1:]] for row in rows[first : first + 3]]
    measured = dict(zip(names, map(mean, zip(*seeds, strict=True)), strict=True))
    assert {name: gain for name, (_, gain) in GAINS.items()} == pytest.approx(measured, abs=5e-4)
    assert pytest.approx(sum(measured.values()) / 10, abs=5e-4) == MEAN


def test_where_nothing_is_left_to_gain_the_backbone_is_left_alone():
    advice = advise(probes_of(100, 200), STEEP, [100, 100], majority=0.5)
    assert type(advice.strategy).__name__ == "LinearProbe"
    assert "right on all 200 images" in advice.reasons[-1]
    assert advice.expected.endswith("Here at most +0.000 is left to gain.")
