import io
import pathlib
import random
import sys
import types
import typing
import zipfile
from argparse import Namespace
from collections import defaultdict

import numpy as np
import pytest
import timm
import torch
from lightning.fabric.utilities.data import AttributeDict
from safetensors.torch import save, save_file

from tltool.models.weights.torch_files import read_torch_file

WEIGHTS = {"a": torch.ones(3)}


def torch_bytes(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


NEW, OLD = torch_bytes(WEIGHTS), torch_bytes(WEIGHTS, _use_new_zipfile_serialization=False)
SAFE = save(WEIGHTS)


def zip_bytes(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return file.getvalue()


def npz_bytes():
    file = io.BytesIO()
    np.savez(file, a=np.ones(2))
    return file.getvalue()


OTHER_CONTENT = {
    "empty": (b"", "is empty. Download or copy it again"),
    "zeros": (bytes(4096), "holds zeros alone"),
    "text": (b"no weights\n", "is a text file"),
    "page": (b"\n <!DOCTYPE html>\n<title>Sign in</title>", "is a web page"),
    "page with a mark": (b"\xef\xbb\xbf<HTML>", "is a web page"),
    "access denied": (b'<?xml version="1.0"?><Error>AccessDenied</Error>', "is a web page"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    "pickle": (b"\x80\x04}\x94.", "a pickle that PyTorch did not write"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(500), "an HDF5 file"),
    "numpy": (npz_bytes(), r"an archive of NumPy arrays"),
    "keras archive": (zip_bytes("config.json", "model.weights.h5"), "a Keras model"),
    "gzip": (b"\x1f\x8b\x08\x00", "compressed with gzip. Unpack it first"),
    "other zip": (zip_bytes("notes.txt"), "a zip archive that PyTorch did not write"),
    "noise": (bytes(range(256)), "is no PyTorch and no safetensors file"),
    "half a new file": (NEW[: len(NEW) // 2], "damaged: its end is missing"),
    "an old file without its end": (OLD[:-3], "is damaged or incomplete"),
    "half a safetensors file": (SAFE[:-3], "is damaged or incomplete"),
}


@pytest.mark.parametrize("content", OTHER_CONTENT)
def test_what_is_no_weights_file_is_named_with_a_cure(content, tmp_path):
    written, words = OTHER_CONTENT[content]
    (tmp_path / "weights.pth").write_bytes(written)
    with pytest.raises(ValueError, match=f"Weights file .*weights.pth' .*{words}"):
        read_torch_file(tmp_path / "weights.pth", "Weights file")


@pytest.mark.parametrize("content", [NEW, OLD, SAFE])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "5f3c"])
def test_the_content_decides_and_not_the_suffix(content, name, tmp_path):
    (tmp_path / name).write_bytes(content)
    torch.testing.assert_close(read_torch_file(tmp_path / name, "Weights file"), WEIGHTS)


def test_a_file_with_metadata_is_read(tmp_path):
    save_file(WEIGHTS, tmp_path / "weights.safetensors", {"format": "pt", "license": "mit"})
    assert list(read_torch_file(tmp_path / "weights.safetensors", "Weights file")) == ["a"]


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_the_plain_data_of_other_tools_is_read(options):
    content = {"args": Namespace(lr=0.1), "best": np.float64(0.9), "out": pathlib.Path("runs")}
    file = io.BytesIO(torch_bytes(WEIGHTS | content, **options))
    read = read_torch_file(file, "Weights file")
    assert (read["args"].lr, read["best"], str(read["out"])) == (0.1, 0.9, "runs")


def test_the_hyperparameters_of_lightning_are_read_as_a_dictionary():
    content = {"hyper_parameters": AttributeDict(lr=0.1, model=AttributeDict(name="vit"))}
    read = read_torch_file(io.BytesIO(torch_bytes(content)), "Weights file")
    assert read["hyper_parameters"] == {"lr": 0.1, "model": {"name": "vit"}}


def test_a_configuration_of_omegaconf_is_read_without_its_classes(monkeypatch):
    # As much of its classes as decides how they are pickled.
    names = {"dictconfig": ["DictConfig"], "base": ["ContainerMetadata"], "nodes": ["AnyNode"]}
    monkeypatch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
    made = {}
    for module, classes in names.items():
        place = types.ModuleType(f"omegaconf.{module}")
        for name in classes:
            made[name] = type(name, (), {"__module__": place.__name__})
            setattr(place, name, made[name])
        monkeypatch.setitem(sys.modules, place.__name__, place)
    config, metadata, node = (made[n] for n in ("DictConfig", "ContainerMetadata", "AnyNode"))
    whole = config()
    whole.__dict__ |= {"_metadata": metadata(), "_content": {"lr": node()}, "_parent": None}
    whole._metadata.__dict__ |= {"element_type": typing.Any, "resolver_cache": defaultdict(dict)}
    whole._content["lr"].__dict__ |= {"_val": 0.1, "_parent": whole}
    content = torch_bytes({"hyper_parameters": whole, "state_dict": WEIGHTS})
    monkeypatch.undo()
    read = read_torch_file(io.BytesIO(content), "Weights file")
    assert type(read["hyper_parameters"]) is Namespace
    torch.testing.assert_close(read["state_dict"], WEIGHTS)


class Hyperparameters:
    pass


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_an_object_is_named_and_not_unpickled(options):
    content = {"hyper_parameters": {"config": Hyperparameters()}, "state_dict": WEIGHTS}
    with pytest.raises(ValueError, match=r"such as .*\.Hyperparameters; tltool does not unpickle"):
        read_torch_file(io.BytesIO(torch_bytes(content, **options)), "Weights file")


class RunsCode:
    def __reduce__(self):
        return (exec, ("raise SystemExit",))


def test_code_in_a_file_is_not_run():
    with pytest.raises(ValueError, match=r"such as .*exec; tltool does not unpickle"):
        read_torch_file(io.BytesIO(torch_bytes({"a": RunsCode()})), "Weights file")


def test_a_whole_network_is_told_to_be_saved_as_a_state_dict():
    network = torch_bytes(timm.create_model("test_resnet"))
    with pytest.raises(ValueError, match=r"such as timm.*ResNet.* Save `model.state_dict\(\)`"):
        read_torch_file(io.BytesIO(network), "Weights file")


def test_a_torchscript_program_is_told_how_to_be_converted(tmp_path):
    program = tmp_path / "weights.pt"
    with zipfile.ZipFile(program, "w") as archive:  # What torch.jit.save writes, in names.
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"weights/{name}", b"")
    with pytest.raises(ValueError, match=r"is a TorchScript program.*torch\.jit\.load\(FILE\)"):
        read_torch_file(program, "Weights file")


def refusal(content):
    """Return why bytes are refused; empty where they are read."""
    try:
        read_torch_file(io.BytesIO(content), "Weights file")
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, of damaged bytes
@pytest.mark.parametrize("content", [NEW, OLD, SAFE])
def test_damage_anywhere_is_read_or_refused_with_the_name(content):
    generator = random.Random(0)
    bits = [generator.randrange(8 * len(content)) for _ in range(100)]
    damaged = [
        content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]
        for bit in bits
    ]
    refusals = [words for words in map(refusal, damaged) if words]
    assert refusals
    assert all(words.startswith("Weights file 'in memory' ") for words in refusals)


def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    (tmp_path / "weights.pth").write_bytes(NEW)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    with pytest.raises(OSError, match=r"cannot be read: Permission denied\. Check its permissions"):
        read_torch_file(tmp_path / "weights.pth", "Weights file")
