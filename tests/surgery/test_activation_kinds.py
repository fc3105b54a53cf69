import inspect
import subprocess
import sys

import pytest
import timm
import torch
from timm.layers import activations as timm_activations
from timm.layers import activations_me as timm_activations_me
from timm.layers.squeeze_excite import EffectiveSEModule
from timm.models.hgnet import EseModule
from timm.models.metaformer import SquaredReLU, StarReLU
from timm.models.senet import SEModule as LegacySEModule
from torch import nn
from torchvision.ops import SqueezeExcitation

from tltool.layers.activations import ACTIVATIONS, create_activation
from tltool.surgery.activation_inventory import find_activations
from tltool.surgery.activation_kinds import kind_of, same_function

ELEMENTWISE = [name for name, entry in ACTIVATIONS.items() if not entry.is_layer]
OF_TIMM = [
    cls
    for module in (timm_activations, timm_activations_me)
    for _, cls in inspect.getmembers(module, inspect.isclass)
    if cls.__module__ == module.__name__ and issubclass(cls, nn.Module)
]


@pytest.mark.parametrize("name", sorted({*ELEMENTWISE} - {"identity"}))
def test_every_activation_that_can_be_created_is_known(name):
    assert kind_of(create_activation(name)) == ACTIVATIONS[name].name


@pytest.mark.parametrize("cls", OF_TIMM, ids=lambda cls: cls.__name__)
def test_every_activation_class_of_timm_computes_what_its_kind_says(cls):
    references = {
        "hard_mish": lambda z: 0.5 * z * (z + 2).clamp(0, 2),
        "quick_gelu": lambda z: z * torch.sigmoid(1.702 * z),
    }
    z, kind = torch.linspace(-6, 6, 101), kind_of(cls())
    reference = references.get(kind) or create_activation(kind)
    assert torch.allclose(cls()(z.clone()), reference(z), atol=1e-6)


@pytest.mark.parametrize("module", [nn.Linear(2, 2), nn.MultiheadAttention(4, 2), nn.Identity()])
def test_what_is_no_activation_has_no_kind(module):
    assert kind_of(module) is None


def test_a_subclass_of_an_activation_is_one():
    assert kind_of(type("MyReLU", (nn.ReLU,), {})()) == "relu"


@pytest.mark.parametrize(("cls", "kind"), [(StarReLU, "star_relu"), (SquaredReLU, "squared_relu")])
def test_an_activation_built_on_relu_is_one_of_its_own(cls, kind):
    (found,) = find_activations(nn.Sequential(nn.Linear(2, 2), cls()))
    assert (found.names, found.kind) == (("1",), kind)


def test_gelu_and_its_approximation_are_two_functions():
    assert not same_function(nn.GELU(), nn.GELU(approximate="tanh"))


def test_the_same_function_of_torch_and_timm_is_one():
    assert same_function(nn.SiLU(inplace=True), timm_activations_me.SwishMe())


def test_what_an_activation_has_learned_does_not_make_it_another_kind():
    assert same_function(nn.PReLU(init=0.1), nn.PReLU(init=0.25))


def gates(model):
    return [name for a in find_activations(model) for name in a.names if a.why_kept]


class SELayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Sigmoid())


def channel_attention():
    return nn.ModuleDict({"se": nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Sigmoid())})


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (SqueezeExcitation(8, 2), ["scale_activation"]),
        (EffectiveSEModule(8), ["gate"]),
        (EseModule(8), ["sigmoid"]),
        (LegacySEModule(8, 2), ["sigmoid"]),
        (channel_attention(), ["se.2"]),
        (SELayer(), ["fc.3"]),
        (timm.layers.GluMlp(8, act_layer=nn.Sigmoid), ["act"]),
        (timm.layers.GluMlp(8, act_layer=nn.SiLU), []),
        (nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=1), nn.GLU()), ["1", "2"]),
        (nn.ModuleDict({"gate_fn": nn.Hardswish(), "aggregate": nn.ReLU()}), ["gate_fn"]),
        (nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 4), nn.Hardsigmoid()), []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_gates_are_told_from_activations(model, expected):
    assert gates(nn.Sequential(model)) == [f"0.{name}" for name in expected]


def test_an_activation_that_is_also_used_as_a_gate_is_a_gate():
    shared = nn.Hardsigmoid()
    assert gates(nn.ModuleDict({"act": shared, "gate": shared})) == ["act", "gate"]


def test_the_kernel_of_a_linear_attention_is_a_gate():
    with torch.device("meta"):
        model = timm.create_model("efficientvit_b0", num_classes=0)
    assert {name.rpartition(".")[2] for name in gates(model)} == {"kernel_func"}


def test_surgery_is_imported_without_timm():
    code = "import sys; from tltool.surgery import edits; sys.exit('timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
