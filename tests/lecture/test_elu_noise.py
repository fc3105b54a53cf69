"""ELU and noise in the inputs."""

import pytest
import torch

from tltool.lecture.elu_noise import ELUNoise
from tltool.lecture.table import where

TINY = ELUNoise(noises=(0.5, 4.0), draws=2, width=8, lrs=(0.03,), epochs=2, seeds=2)


def rows(**accuracies):
    """Rows of networks that are right on the first rows only, without noise and with it."""
    return [
        {"activation": name, "noise": noise, "seed": seed, "accuracy": accuracy}
        | {"right": (torch.arange(200) < round(200 * accuracy)).double()}
        for name, both in accuracies.items()
        for noise, accuracy in zip((0.0, 1.0), both, strict=True)
        for seed in range(3)
    ]


def test_without_noise_the_accuracy_is_that_of_training(blobs):
    for row in where(TINY.run(blobs), noise=0.0):
        assert row["right"].tolist() == row["correct"].double().tolist()


def test_the_noise_of_a_seed_is_the_same_each_time(blobs):
    first, second = (TINY.run(blobs) for _ in range(2))
    assert all(torch.equal(a["right"], b["right"]) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("elu", "leaky", "verdict"),
    [
        ((0.9, 0.8), (0.9, 0.6), "holds"),
        ((0.9, 0.8), (0.7, 0.6), "holds in part"),
        ((0.9, 0.8), (0.7, 0.595), "holds in part"),
        ((0.9, 0.6), (0.9, 0.8), "does not hold here"),
        ((0.9, 0.8), (0.9, 0.795), "cannot be told here"),
    ],
)
def test_the_verdict_goes_by_accuracy_under_noise_and_by_what_is_lost(elu, leaky, verdict):
    assert TINY.judge(rows(elu=elu, leaky_relu=leaky)).verdict == verdict


def test_the_difference_is_elu_less_leaky_relu():
    judgement = TINY.judge(rows(elu=(0.9, 0.8), leaky_relu=(0.9, 0.6)))
    assert judgement.numbers["noisy"].startswith("+20.0 points")


def test_the_run_has_all_its_parts(blobs):
    finding = TINY.find(blobs)
    assert len(finding.rows) == 3 * 3 * 2  # Without noise too.
    assert "elu less leaky relu" in finding.number
    assert len(finding.figure.axes) == 1


def test_a_missing_half_of_the_comparison_is_refused():
    with pytest.raises(ValueError, match="`activations` must be holding"):
        ELUNoise(activations=("relu", "elu"))


@pytest.mark.parametrize("noises", [(), (0.0,), (-1.0, 1.0)])
def test_no_noise_is_refused(noises):
    with pytest.raises(ValueError, match="`noises` must be"):
        ELUNoise(noises=noises)
