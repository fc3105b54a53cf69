"""One model of each of timm's modules, and more where a module has several kinds of blocks."""

from collections import Counter

import pytest
import timm
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tltool.surgery.activation_swap import swap_activations

FURTHER = [
    *("caformer_s18", "coatnet_nano_rw_224", "eca_nfnet_l0", "ecaresnet26t", "edgenext_small"),
    *("efficientvit_l1", "eva02_tiny_patch14_224", "gcresnext26ts", "gmlp_ti16_224", "hgnetv2_b0"),
    *("lambda_resnet26t", "mobilenetv4_hybrid_medium", "mobileone_s0", "mobilevitv2_050"),
    *("nf_regnet_b0", "poolformer_s12", "resnet18", "skresnet18"),
    *("swinv2_tiny_window16_256", "tf_efficientnet_lite0", "vit_tiny_patch16_224"),
]
MODULES = [module for module in timm.list_modules() if module != "pixel_backbone"]  # No network.
MODELS = [timm.list_models(module=module)[:1] for module in MODULES]
MODELS = sorted({*(name for names in MODELS for name in names), *FURTHER})

# Why an activation is out of reach, in each model that has such a one. The first two call it only
# where blocks have been cut off.
OUT_OF_REACH = {
    "nasnetalarge": "NASNetALarge calls relu as a function in forward_features",
    "pnasnet5large": "PNASNet5Large calls relu as a function in forward_features",
    "mobilevitv2_050": (
        "LinearSelfAttention calls relu as a function in _forward_self_attn and _forward_cross_attn"
    ),
}
# What still runs after the swap: the above, the kernel of linear attention, LSTMs, and networks of
# relative positions.
STILL_RUN = {
    "efficientvit_b0": {"relu"},
    "efficientvit_l1": {"relu"},
    "mobilevitv2_050": {"relu"},
    "sequencer2d_l": {"tanh"},
    "swinv2_cr_base_224": {"relu"},
    "swinv2_base_window8_256": {"relu"},
    "swinv2_tiny_window16_256": {"relu"},
    "test_vit_relpos": {"relu"},
}
WATCHED = {
    *("relu", "relu6", "hardtanh", "leaky_relu", "prelu", "elu", "gelu", "silu", "hardswish"),
    *("mish", "tanh", "softplus"),
}


class Record(TorchDispatchMode):
    """Counts the activations that are computed, whoever calls them."""

    def __init__(self):
        super().__init__()
        self.calls = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__.removesuffix("_")
        self.calls[name] += name in WATCHED
        return func(*args, **kwargs or {})


def run(model):
    size = model.pretrained_cfg["input_size"]
    with torch.no_grad(), Record() as record:
        model(torch.empty(1, *size, device="meta"))
    return +record.calls


@pytest.fixture
def model(request):
    with torch.device("meta"):
        return timm.create_model(request.param, num_classes=0).eval()


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS, indirect=True)
def test_a_swap_leaves_no_activation_but_gates(model, request):
    name = request.node.callspec.params["model"]
    before = run(model)
    example = torch.empty(1, *model.pretrained_cfg["input_size"], device="meta")
    report = swap_activations(model, "mish", example=example)
    after = run(model)
    assert {report.kept[each] for each in report.out_of_reach} == {
        f"out of reach: {reason}" for reason in [OUT_OF_REACH.get(name)] if reason
    }
    assert set(after) - {"mish"} == STILL_RUN.get(name, set())
    assert after.total() == before.total()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnetv2_50d_evos", "resnetv2_50d_frn"], indirect=True)
def test_a_model_whose_norms_are_its_activations_is_refused(model):
    with pytest.raises(ValueError, match=r"all that is selected stays .* part of the formula of"):
        swap_activations(model, "mish")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["regnetz_c16_evos"], indirect=True)
def test_a_swap_that_would_reach_gates_alone_is_refused(model):
    with pytest.raises(ValueError, match=r"only those inside gates.* the formula of EvoNorm2dS0a"):
        swap_activations(model, "mish", example=torch.empty(1, 3, 64, 64, device="meta"))


@pytest.mark.slow
def test_the_tables_name_models_of_the_survey():
    assert {*OUT_OF_REACH, *STILL_RUN} <= set(MODELS)
