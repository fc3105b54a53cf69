import pytest
import torch
from torch import nn

from tltool.surgery.module_replacement import replace_modules, walk


class Block(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.act = act

    def forward(self, x):
        return self.act(self.linear(x))


def is_relu(place):
    return isinstance(place.module, nn.ReLU)


def gelu(place):
    return nn.GELU()


def prelu(place):
    return nn.PReLU()


def test_modules_are_walked_in_the_order_of_definition():
    model = nn.Sequential(Block(nn.ReLU()), nn.Tanh())
    assert [place.names[0] for place in walk(model)] == ["0", "0.linear", "0.act", "1"]


def test_a_shared_module_is_one_place_with_all_its_names():
    relu = nn.ReLU()
    model = nn.Sequential(Block(relu), Block(relu))
    assert [place.names for place in walk(model) if is_relu(place)] == [("0.act", "1.act")]


def test_a_shared_module_is_replaced_once_and_stays_shared():
    relu = nn.ReLU()
    model = nn.Sequential(Block(relu), Block(relu))
    names = replace_modules(model, is_relu, prelu)
    assert names == ("0.act", "1.act")
    assert model[0].act is model[1].act
    assert isinstance(model[0].act, nn.PReLU)


def test_one_name_of_a_shared_module_chooses_it_everywhere():
    relu = nn.ReLU()
    model = nn.Sequential(Block(relu), Block(relu), Block(nn.ReLU()))
    assert replace_modules(model, is_relu, gelu, only="1.*") == ("0.act", "1.act")
    assert isinstance(model[2].act, nn.ReLU)


def test_a_module_in_a_shared_block_has_a_name_for_each_use():
    block = Block(nn.ReLU())
    model = nn.Sequential(block, block)
    assert replace_modules(model, is_relu, gelu) == ("0.act", "1.act")
    assert isinstance(block.act, nn.GELU)


def test_a_module_in_a_shared_block_has_one_owner():
    block = Block(nn.ReLU())
    (place,) = filter(is_relu, walk(nn.Sequential(block, block)))
    assert place.owners == ((block, "act"),)


@pytest.mark.parametrize("container", [nn.ModuleList, nn.Sequential])
def test_modules_in_containers_are_replaced(container):
    model = nn.Module()
    model.items = container().append(nn.ReLU())
    assert replace_modules(model, is_relu, gelu) == ("items.0",)
    assert isinstance(model.items[0], nn.GELU)


def test_modules_in_a_dict_are_replaced():
    model = nn.ModuleDict({"act": nn.ReLU(), "linear": nn.Linear(2, 2)})
    replace_modules(model, is_relu, gelu)
    assert list(model) == ["act", "linear"]
    assert isinstance(model["act"], nn.GELU)


def test_the_model_itself_is_not_replaced():
    model = nn.ReLU()
    with pytest.raises(ValueError, match="matches no module"):
        replace_modules(model, is_relu, gelu)


def test_the_new_module_has_the_mode_of_the_old_one():
    model = nn.Sequential(nn.ReLU(), nn.ReLU().eval())
    replace_modules(model, is_relu, lambda place: nn.Dropout())
    assert [module.training for module in model] == [True, False]


def test_the_new_module_lies_on_the_device_of_its_owner():
    model = nn.Sequential(nn.Linear(2, 2), Block(nn.ReLU()).to("meta"))
    replace_modules(model, is_relu, prelu)
    assert model[1].act.weight.device.type == "meta"


def test_the_new_module_has_the_type_of_what_lies_around_it():
    model = nn.Sequential(Block(nn.ReLU()).double(), nn.Linear(2, 2))
    replace_modules(model, is_relu, prelu)
    assert model[0].act.weight.dtype == torch.float64


def test_a_module_without_tensors_takes_the_type_of_the_next_owner_that_has_some():
    model = nn.Sequential(nn.Linear(2, 2).double(), nn.Sequential(nn.ReLU()))
    replace_modules(model, is_relu, prelu)
    assert model[1][0].weight.dtype == torch.float64


def test_the_outer_one_of_two_matches_is_replaced():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    wanted = (nn.Sequential, nn.ReLU)
    names = replace_modules(model, lambda place: isinstance(place.module, wanted), gelu)
    assert names == ("0",)


def test_several_patterns_choose_what_any_of_them_matches():
    model = nn.Sequential(*(nn.ReLU() for _ in range(4)))
    assert replace_modules(model, is_relu, gelu, only=["0", "[23]"]) == ("0", "2", "3")


def test_a_pattern_is_case_sensitive():
    model = nn.ModuleDict({"act": nn.ReLU()})
    with pytest.raises(ValueError, match="`only` 'ACT' matches no module"):
        replace_modules(model, is_relu, gelu, only="ACT")


def test_each_pattern_must_match():
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    with pytest.raises(ValueError, match=r"`only` '7' matches no module. Their names are: 0, 1\."):
        replace_modules(model, is_relu, gelu, only=["0", "7"])
    assert not any(isinstance(module, nn.GELU) for module in model)


@pytest.mark.parametrize("only", [[], [3], 3])
def test_a_pattern_that_is_no_text_is_refused(only):
    with pytest.raises(TypeError, match=r"must be a pattern of dotted names such as 'blocks\.\*'"):
        replace_modules(nn.Sequential(nn.ReLU()), is_relu, gelu, only=only)
