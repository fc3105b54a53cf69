import numpy as np
import pytest
from jsonargparse import ArgumentParser
from sklearn.utils.class_weight import compute_class_weight

from tltool.data.datamodules.class_weights import (
    ClassWeights,
    balanced_weights,
    class_weights,
    effective_number_weights,
)

NAMES = ["ants", "bees", "wasps"]
COUNTS = [60, 30, 10]
LABELS = np.repeat([0, 1, 2], COUNTS)


def test_balanced_equals_scikit_learn():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    assert balanced_weights(COUNTS) == pytest.approx(expected)


def test_balanced_classes_count_the_same_in_sum():
    sums = np.multiply(balanced_weights(COUNTS), COUNTS)
    assert sums == pytest.approx([100 / 3] * 3)


@pytest.mark.parametrize("rule", [balanced_weights, effective_number_weights])
def test_the_mean_weight_over_images_is_one(rule):
    assert np.average(rule(COUNTS), weights=COUNTS) == pytest.approx(1)


@pytest.mark.parametrize("rule", [balanced_weights, effective_number_weights])
def test_a_class_without_images_gets_no_weight(rule):
    assert rule([60, 0, 10])[1] == 0
    assert np.average(rule([60, 0, 10]), weights=[60, 0, 10]) == pytest.approx(1)


@pytest.mark.parametrize("rule", [balanced_weights, effective_number_weights])
def test_no_images_at_all_are_refused(rule):
    with pytest.raises(ValueError, match="need training images"):
        rule([0, 0])


def test_effective_number_without_overlap_weights_nothing():
    assert effective_number_weights(COUNTS, beta=0) == pytest.approx([1, 1, 1])


def test_effective_number_near_one_is_balanced():
    near = effective_number_weights(COUNTS, beta=1 - 1e-9)
    assert near == pytest.approx(balanced_weights(COUNTS), rel=1e-4)


def test_effective_number_follows_the_formula():
    ratio = (1 - 0.99**60) / (1 - 0.99**10)
    weights = effective_number_weights(COUNTS, beta=0.99)
    assert weights[2] / weights[0] == pytest.approx(ratio)


@pytest.mark.parametrize("beta", [-0.1, 1.0])
def test_a_beta_out_of_range_is_refused(beta):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\)"):
        effective_number_weights(COUNTS, beta=beta)


def test_given_weights_are_taken_as_they_are():
    assert class_weights([1, 2, 3], COUNTS, NAMES) == [1.0, 2.0, 3.0]


def test_given_names_leave_the_others_at_one():
    assert class_weights({"bees": 5}, COUNTS, NAMES) == [1.0, 5.0, 1.0]


@pytest.mark.parametrize("name", ["balanced", "effective_number"])
def test_a_rule_is_chosen_by_name(name):
    assert class_weights(name, COUNTS, NAMES)[0] < class_weights(name, COUNTS, NAMES)[2]


def test_an_unknown_rule_gets_the_nearest_name():
    with pytest.raises(ValueError, match=r"Did you mean 'balanced'\?"):
        class_weights("balance", COUNTS, NAMES)


def test_an_unknown_class_gets_the_nearest_name():
    with pytest.raises(ValueError, match=r"Unknown class 'bee'. Did you mean 'bees'\?"):
        class_weights({"bee": 2}, COUNTS, NAMES)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("0", "0"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("1.0", "1.0"),
        ("01", "01"),
        ("null", "null"),
        ("~", "~"),
        ("-1", "-1"),
        ("1_000", "1_000"),
        ("'0'", "0"),
        ("2026-11-28", "2026-11-28"),
    ],
)
def test_a_name_that_yaml_reads_as_something_else_is_the_class(key, name):
    weights = ArgumentParser(exit_on_error=False)
    weights.add_argument("--weights", type=ClassWeights)
    choice = weights.parse_args(["--weights", f"{{{key}: 2}}"]).weights
    assert class_weights(choice, [5, 5, 5], ["=", name, "[a"]) == [1.0, 2.0, 1.0]


@pytest.mark.parametrize(("key", "names"), [(False, ["no", "off"]), (1, ["1", "01"])])
def test_a_name_that_yaml_reads_as_another_must_be_quoted(key, names):
    with pytest.raises(ValueError, match=f"all read as {key} .* quotes, such as '{names[0]}'"):
        class_weights({key: 2}, [5, 5], names)


@pytest.mark.parametrize(("key", "names"), [(0, NAMES), (True, ["1", "0"]), (1, ["true", "false"])])
def test_a_key_that_is_no_class_lists_those_that_are(key, names):
    with pytest.raises(ValueError, match=f"Unknown class '{key}'. .*Choose one of"):
        class_weights({key: 2}, [5] * len(names), names)


def test_too_few_weights_are_refused():
    with pytest.raises(ValueError, match=r"for each of ants, bees, wasps; got \[1.0, 2.0\]"):
        class_weights([1, 2], COUNTS, NAMES)


@pytest.mark.parametrize("weights", [[1, -1, 1], [0, 0, 0], [1, 1, np.nan], [1, 1, np.inf]])
def test_weights_that_are_negative_or_no_number_or_all_zero_are_refused(weights):
    with pytest.raises(ValueError, match="must be finite, at least 0, and one above"):
        class_weights(weights, COUNTS, NAMES)
