"""Temperature scaling: the temperature is found, and is measured on images that did not fit it."""

import pytest
import torch
from torch.nn import functional

from tltool.evaluation.temperature import (
    choose_temperature,
    cross_fitted_probabilities,
    fit_temperature,
    rescale,
)


def sample(num_images, scale, *, num_classes=5, seed=0):
    """Return logits that are ``scale`` times too large, and labels drawn from their truth."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(num_images, num_classes, generator=generator)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    return scale * logits, labels


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_the_temperature_of_a_sample_is_found(scale):
    assert fit_temperature(*sample(20_000, scale)) == pytest.approx(scale, rel=0.05)


def test_it_has_the_least_loss_as_lbfgs_finds_it():
    logits, labels = sample(500, 3.0)
    inverse = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([inverse], max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(logits * inverse, labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert fit_temperature(logits, labels) == pytest.approx(1 / inverse.item(), rel=1e-3)


def test_where_all_images_are_right_nothing_is_fitted():
    assert fit_temperature(5 * torch.eye(3), torch.arange(3)) == 1


def test_it_lowers_the_calibration_error_of_images_that_did_not_fit_it():
    fit = choose_temperature(*sample(2_000, 3.0))
    assert fit.error_after < 0.3 * fit.error_before


def test_a_temperature_that_does_not_help_others_is_not_taken():
    logits, labels = sample(100, 1.0, seed=0)
    fit = choose_temperature(logits, labels)
    assert fit.temperature == 1
    assert fit.proposed != 1


def test_an_image_does_not_take_part_in_its_own_temperature():
    logits, labels = sample(50, 3.0)
    before = cross_fitted_probabilities(logits, labels)
    other = labels.clone()
    other[7] = (labels[7] + 1) % 5
    assert torch.equal(cross_fitted_probabilities(logits, other)[7], before[7])


def test_images_of_one_group_do_not_take_part_in_their_temperature():
    logits, labels = sample(50, 3.0)
    groups = [index // 2 for index in range(50)]
    before = cross_fitted_probabilities(logits, labels, groups)
    labels[7] = (labels[7] + 1) % 5
    assert torch.equal(cross_fitted_probabilities(logits, labels, groups)[6], before[6])


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="at least 100 images, got 99"):
        choose_temperature(*sample(99, 1.0))


def test_probabilities_are_rescaled_as_their_logits_are():
    logits, _ = sample(10, 1.0)
    scaled = (logits / 2.5).softmax(dim=1)
    torch.testing.assert_close(rescale(scaled, 1 / 2.5), logits.softmax(dim=1))
