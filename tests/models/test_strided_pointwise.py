"""1x1 convolutions with a stride and few input channels are safe in channels_last on the CPU."""

import copy
import logging
import multiprocessing
import subprocess
import sys

import pytest
import torch
from torch import nn

from tltool.models.backbone import Backbone
from tltool.models.strided_pointwise import StridedPointwiseConv2d, replace_strided_pointwise_
from tltool.surgery.adapters import LowRankUpdate

TRAIN = """
import torch
from tltool.models.strided_pointwise import replace_strided_pointwise_
conv = torch.nn.Conv2d(3, 16, 1, stride=2)
replace_strided_pointwise_(conv_of := torch.nn.Sequential(conv))
conv_of.to(memory_format=torch.channels_last)
images = torch.randn(4, 3, 112, 112).contiguous(memory_format=torch.channels_last)
for _ in range(10):
    conv_of(images).square().sum().backward()
"""


def train(conv, images):
    outputs = conv(images)
    outputs.square().sum().backward()
    return outputs.detach(), conv.weight.grad


def test_training_in_channels_last_ends_without_a_signal():
    done = subprocess.run(
        [sys.executable, "-c", TRAIN], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stride", [2, (1, 3)])
def test_outputs_and_gradients_are_those_of_the_convolution_in_contiguous_memory(stride):
    plain = nn.Sequential(nn.Conv2d(3, 16, 1, stride=stride)).double()
    safe = copy.deepcopy(plain)
    replace_strided_pointwise_(safe)
    images = torch.randn(2, 3, 33, 32).double()
    torch.testing.assert_close(train(safe[0], images), train(plain[0], images))


@pytest.mark.parametrize(
    "safe",
    [
        *(nn.Conv2d(3, 8, 1), nn.Conv2d(1, 8, 1, stride=2), nn.Conv2d(16, 8, 1, stride=2)),
        *(nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(4, 8, 1, stride=2, groups=2)),
    ],
    ids=str,
)
def test_other_convolutions_stay_as_they_are(safe):
    assert replace_strided_pointwise_(nn.Sequential(safe)) == []


def train_backbone(name):
    torch.set_num_threads(1)  # Threads of OpenMP do not outlive a fork.
    backbone, images = Backbone(name, weights="random"), torch.randn(4, 3, 160, 160)
    for _ in range(2):
        backbone(images).square().mean().backward()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobileone_s0", "repvgg_a0", "fastvit_t8"])
def test_networks_with_such_convolutions_train_without_a_signal(name):
    process = multiprocessing.get_context("fork").Process(target=train_backbone, args=(name,))
    process.start()
    process.join(120)
    process.kill()
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_backbone_replaces_them_and_names_them(caplog, channels_last):
    with caplog.at_level(logging.INFO, logger="tltool"), torch.device("meta"):
        backbone = Backbone("mobileone_s0", weights="random", channels_last=channels_last)
    assert type(backbone.model.stem.conv_scale.conv) is StridedPointwiseConv2d
    assert caplog.messages[0].startswith("stem.conv_scale.conv of mobileone_s0 skips pixels")


def test_one_with_an_adapter_is_safe_too():
    edit = {"add_lora": {"rank": 1, "only": "stem.*"}}
    with torch.device("meta"):
        backbone = Backbone("mobileone_s0", weights="random", surgery=[edit])
    conv = backbone.model.stem.conv_scale.conv
    assert isinstance(conv, LowRankUpdate)
    assert isinstance(conv, StridedPointwiseConv2d)
