"""How far the gradient of a batch is from that of all rows."""

import math

import pytest
import torch

from tltool.lecture.gradient_noise import gradient_noise, slope
from tltool.lecture.training import build_head


def measure(problem, batch_size, **options):
    head = build_head({"hidden_features": [8]}, problem, seed=0)
    options = {"draws": 100, "seed": 0} | options
    return gradient_noise(head, *problem.train, batch_size=batch_size, **options)


def test_the_error_falls_by_the_square_root_of_the_batch(blobs):
    errors = [measure(blobs, size).error for size in (2, 32)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)


def test_large_batches_point_the_way_of_the_whole(blobs):
    assert measure(blobs, 1).cosine < measure(blobs, 1024).cosine
    assert measure(blobs, 1024).cosine > 0.99


def test_a_batch_may_be_larger_than_the_data(blobs):
    assert 0 < measure(blobs, 10_000, draws=2).error < 0.1


def test_the_error_is_relative_to_the_whole_gradient(blobs):
    head = build_head({"hidden_features": []}, blobs, seed=0)
    features, labels = (rows[:1] for rows in blobs.train)  # One row: each batch is the whole.
    noise = gradient_noise(head, features, labels, batch_size=3, draws=2, seed=0)
    assert noise.error == pytest.approx(0, abs=1e-5)
    assert noise.cosine == pytest.approx(1)


def test_the_error_is_a_share_of_the_whole_gradient(blobs):
    head = build_head({"hidden_features": []}, blobs, seed=0)
    torch.nn.init.zeros_(head.output.weight)  # So that the gradient goes by the features.
    labels = blobs.train[1]
    errors = [
        gradient_noise(head, scale * blobs.train[0], labels, batch_size=4, draws=9, seed=0).error
        for scale in (100, 200)
    ]
    assert errors[0] == pytest.approx(errors[1], rel=0.01)


def test_every_row_is_drawn_equally_often(blobs):
    # The root mean square over all batches of one row is then exact, whatever the seed.
    errors = [measure(blobs, 1, draws=1, seed=seed).error for seed in (0, 1)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-5)


def test_the_slope_is_that_of_the_logarithms():
    assert slope([1, 10, 100], [5.0, 0.5, 0.05]) == pytest.approx(-1)


def test_a_zero_gradient_has_no_relative_error(blobs):
    head = build_head({"hidden_features": []}, blobs, seed=0)
    head.output.bias.data[blobs.train[1][0]] = 1e4  # It is sure of the one row that it sees.
    features, labels = (rows[:1] for rows in blobs.train)
    noise = gradient_noise(head, features, labels, batch_size=2, draws=2, seed=0)
    assert math.isnan(noise.error)
