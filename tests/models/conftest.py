import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tltool.models.backbone import Backbone


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Empty caches of the hub and of torch hub, and a hub that does not answer."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


@pytest.fixture
def cached_resnet(caches):
    """The weights of a small ResNet, where a download would have put them."""
    repository = caches / "hub" / "models--timm--test_resnet.r160_in1k"
    snapshot = repository / "snapshots" / "0a1b"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0a1b")
    backbone = Backbone("test_resnet", weights="random", channels_last=False)
    weights = {**backbone.model.state_dict(), "fc.weight": torch.zeros(1000, 96)}
    save_file(weights, snapshot / "model.safetensors")
    return backbone.eval()


@pytest.fixture
def make_task():
    """Make a backbone with a head, as tasks have them."""

    def make(name="test_resnet"):
        backbone = Backbone(name, weights="random")
        return nn.ModuleDict({"backbone": backbone, "head": nn.Linear(backbone.num_features, 3)})

    return make
