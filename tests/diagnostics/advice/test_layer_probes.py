"""Probes on every layer say how deep the useful features lie."""

import math

import pytest
import torch

from tltool.diagnostics.advice.layer_probes import LayerProbes, estimate, probe_layers


def noisy(labels, signal, seed):
    noise = torch.randn(len(labels), 8, generator=torch.Generator().manual_seed(seed))
    return signal * labels[:, None] + noise


def probes_of(first, last):
    labels = torch.tensor([0, 1] * 100)
    train = {"layer1": noisy(labels, first, 0), "whole network": noisy(labels, last, 1)}
    val = {"layer1": noisy(labels, first, 2), "whole network": noisy(labels, last, 3)}
    return probe_layers((train, labels), (val, labels), 2)


def test_the_layer_with_the_signal_is_the_best_beyond_noise():
    probes = probes_of(first=3.0, last=0.2)
    assert probes.best == "layer1"
    assert probes.gap.is_positive


def test_a_layer_with_less_signal_is_behind_the_whole_network():
    probes = probes_of(first=0.2, last=3.0)
    assert probes.best == "whole network"
    assert probes.gap.mean == 0
    assert not probes.gap.is_positive
    assert probes.lead("layer1").mean < -0.2


def test_of_equally_good_layers_the_last_is_the_best():
    right = torch.ones(10, dtype=torch.bool)
    assert LayerProbes({"a": right, "b": right, "c": ~right}).best == "b"


def test_the_error_of_a_lead_is_that_of_the_paired_difference():
    first = torch.tensor([True] * 60 + [False] * 40)
    last = torch.tensor([True] * 58 + [False] * 42)
    lead = LayerProbes({"first": first, "last": last}).lead("first")
    assert lead.mean == pytest.approx(0.02)
    assert lead.standard_error == pytest.approx(math.sqrt(0.02 * 0.98 / 99))


def test_images_that_are_all_right_leave_a_doubt_that_shrinks_with_their_number():
    assert [estimate(torch.ones(n)).standard_error for n in (1, 3, 150)] == [1.5, 0.5, 0.01]
