import math

import pytest
from torch import nn

from tltool._spec import build, parse_spec


def test_a_name_has_no_arguments():
    assert parse_spec("relu", "activation") == ("relu", {})


def test_a_mapping_is_left_as_it_was():
    spec = {"name": "elu", "alpha": 0.5}
    parse_spec(spec, "activation")
    assert spec == {"name": "elu", "alpha": 0.5}


def test_a_mapping_without_a_name_says_what_to_write():
    with pytest.raises(ValueError, match=r"mapping of a `name` and .*got \{'negative_slope'"):
        parse_spec({"negative_slope": 0.2}, "activation")


def test_a_module_is_refused_with_what_to_write():
    with pytest.raises(TypeError, match=r"`activation` must be a name, or a mapping.*got ReLU\(\)"):
        parse_spec(nn.ReLU(), "activation")


def test_an_unknown_argument_gets_the_nearest_one_and_the_choices():
    with pytest.raises(
        ValueError, match=r"'slope'. Did you mean 'negative_slope'\? Choose one of: inplace"
    ):
        build(nn.LeakyReLU, "leaky_relu", {"slope": 0.2})


def test_a_layer_without_arguments_says_so():
    with pytest.raises(ValueError, match=r"identity takes no arguments.*Write just `identity`"):
        build(nn.Identity, "identity", {"alpha": 1.0})


def test_a_missing_argument_says_what_to_write():
    with pytest.raises(ValueError, match=r"write \{name: threshold, threshold: \.\.\.\}"):
        build(nn.Threshold, "threshold", {"value": 0.0})


@pytest.mark.parametrize("value", ["1e-2", True, None])
def test_an_argument_that_is_no_number_is_refused_before_it_is_used(value):
    with pytest.raises(TypeError, match="`negative_slope` of leaky_relu must be a number"):
        build(nn.LeakyReLU, "leaky_relu", {"negative_slope": value})


def test_where_a_layer_lies_is_no_matter_of_configuration():
    with pytest.raises(ValueError, match="Unknown layer argument 'device'"):
        build(nn.LayerNorm, "layer", {"device": "cpu"}, 4)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_argument_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match=f"`alpha` of elu must be a finite number, got {value}"):
        build(nn.ELU, "elu", {"alpha": value})
