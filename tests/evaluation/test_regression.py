import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import (
    cohen_kappa_score,
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

from tltool.evaluation.regression import KAPPA, NEAREST, RegressionPredictions
from tltool.evaluation.regression_scores import nearest_levels, spearman

LEVELS = (0.0, 0.25, 0.5, 1.0)


def draw(number=80):
    generator = torch.Generator().manual_seed(0)
    targets = torch.tensor(LEVELS)[torch.randint(4, (number,), generator=generator)]
    predicted = targets + 0.3 * torch.randn(number, generator=generator)
    return predicted.double(), targets.double()


def kappa(targets, predicted):
    true, said = (nearest_levels(each, torch.tensor(LEVELS)) for each in (targets, predicted))
    return cohen_kappa_score(true, said, weights="quadratic")


REFERENCES = {
    "MAE": mean_absolute_error,
    "RMSE": root_mean_squared_error,
    "R2": r2_score,
    "Spearman": lambda targets, predicted: spearmanr(targets, predicted).statistic,
    KAPPA: kappa,
}


@pytest.mark.parametrize("name", REFERENCES)
def test_each_score_is_that_of_scikit_learn_or_scipy(name):
    predicted, targets = draw()
    found = RegressionPredictions.of(predicted, targets, LEVELS).values[name]
    assert found == pytest.approx(REFERENCES[name](targets, predicted), abs=1e-9)


@pytest.mark.parametrize("name", REFERENCES)
def test_what_an_image_contributes_is_what_the_score_is_without_it(name):
    predicted, targets = draw()
    per_image = RegressionPredictions.of(predicted, targets, LEVELS).contributions[name]
    kept = [torch.arange(len(targets)) != n for n in range(len(targets))]
    without = np.array([REFERENCES[name](targets[k], predicted[k]) for k in kept])
    moves = (len(targets) - 1) * (without.mean() - without)
    expected = (per_image - per_image.mean()).numpy()
    assert np.corrcoef(moves, expected)[0, 1] > 0.999
    assert moves.std() == pytest.approx(expected.std(), rel=0.05)


def test_the_interval_of_a_score_is_about_that_of_the_bootstrap():
    predicted, targets = draw(300)
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randint(300, (300,), generator=generator) for _ in range(300)]
    values = [float(spearman(targets[rows], predicted[rows]).mean()) for rows in drawn]
    found = RegressionPredictions.of(predicted, targets).intervals()["Spearman"]
    assert found.standard_error == pytest.approx(np.std(values), rel=0.15)


def test_the_nearest_level_counts_as_right():
    found = RegressionPredictions.of(torch.tensor([0.1, 0.4]), torch.tensor([0.0, 1.0]), (0.0, 1.0))
    assert found.values[NEAREST] == 0.5


def test_an_error_has_no_interval_below_zero():
    found = RegressionPredictions.of(torch.tensor([0.0, 0.0, 5.0]), torch.zeros(3))
    assert found.intervals()["MAE"].interval[0] == 0


def test_scores_that_are_not_defined_are_nan():
    found = RegressionPredictions.of(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 1.0]))
    assert np.isnan([found.values["R2"], found.values["Spearman"]]).all()
