"""ONNX files of real checkpoints: they predict what the checkpoint predicts, from any source."""

import io
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn

import tltool
from tltool.__main__ import main
from tltool.inference.export import onnx_file
from tltool.inference.export.golden_images import golden_images
from tltool.inference.export.onnx_file import check_packages, write_onnx
from tltool.inference.export.onnx_runner import OnnxModel
from tltool.inference.export.output_layer import OutputLayer
from tltool.inference.export.verification import verify_export
from tltool.models.serialization import serializable
from tltool.training.calibration import Calibration

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--trainer.accelerator", "cpu", "--trainer.max_epochs", "2", "--health.enabled", "false"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory, images):
    """A run on the blue and red images, whose best checkpoint was exported by the command."""
    folder = tmp_path_factory.mktemp("run")
    words = ["--runs_dir", str(folder), "--name", "colors", "--data.root", str(images)]
    assert main(["fit", *words, *SMALL, "--finetuning", "FullFinetuning"]) == 0
    checkpoint = folder / "colors" / "0" / "checkpoints" / "best.ckpt"
    assert main(["export", str(checkpoint), "--output", str(folder / "colors.onnx")]) == 0
    return folder


def checkpoint_of(run):
    return run / "colors" / "0" / "checkpoints" / "best.ckpt"


def as_path(content, folder):
    (folder / "image").write_bytes(content)
    return folder / "image"


SOURCES = {
    "path": as_path,
    "bytes": lambda content, folder: content,
    "Pillow image": lambda content, folder: Image.open(io.BytesIO(content)),
    "array": lambda content, folder: np.asarray(Image.open(io.BytesIO(content)).convert("RGB")),
}


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", golden_images())
def test_it_predicts_each_kind_of_image_as_the_checkpoint_does(run, tmp_path, kind, source):
    content = golden_images()[kind]
    expected = tltool.load(checkpoint_of(run)).predict(SOURCES[source](content, tmp_path))
    (found,) = OnnxModel(run / "colors.onnx").predict([SOURCES[source](content, tmp_path)])
    assert next(iter(found)) == expected.label
    assert found == pytest.approx(expected.probabilities, abs=1e-5)


@pytest.mark.slow
def test_it_takes_images_of_any_number_and_size(run):
    model = OnnxModel(run / "colors.onnx")
    (taken,) = model.session.get_inputs()
    assert taken.shape == ["batch", "height", "width", 3]
    for shape in ((1, 40, 50, 3), (5, 300, 20, 3)):
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        logits, probabilities = model.outputs(images)
        assert logits.shape == probabilities.shape == (shape[0], 2)
        expected = tltool.load(checkpoint_of(run)).logits(images)
        assert torch.allclose(torch.from_numpy(logits), expected, atol=1e-5)


@pytest.mark.slow
def test_it_says_what_it_is_and_holds_no_folder_of_this_machine(run):
    model = OnnxModel(run / "colors.onnx")
    assert model.class_names == ["blue", "red"]
    assert (model.facts["objective"], model.facts["temperature"]) == ("single_label", 1.0)
    assert b".venv" not in (run / "colors.onnx").read_bytes()


@pytest.mark.slow
def test_it_is_verified_by_its_runner_where_torch_cannot_be_imported(run):
    apart = "import sys; sys.modules |= {name: None for name in ('torch', 'tltool', 'timm')};"
    code = f"{apart} sys.path.insert(0, {str(run)!r}); import colors_runner;"
    code += "sys.exit(colors_runner.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, str(run / "colors.onnx")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("as exported")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["preprocessing.shift", "network.head.output.bias"])
def test_a_changed_number_is_named(run, tmp_path, name):
    model = onnx.load(run / "colors.onnx")
    (weight,) = (each for each in model.graph.initializer if each.name == name)
    changed = onnx.numpy_helper.to_array(weight) * np.float32(1.5)
    weight.CopyFrom(onnx.numpy_helper.from_array(changed, name))
    onnx.save(model, tmp_path / "changed.onnx")
    assert verify_export(tmp_path / "changed.onnx").differences[0] == f"changed: weight {name}"


HARD = {
    "vit": {"name": "test_vit"},
    "maxout": {"head": {"hidden_features": [8], "activation": "maxout", "norm": "batch"}},
    "prelu": {"surgery": [{"swap_activations": "prelu"}], "name": "test_efficientnet"},
    "swish_beta": {"surgery": [{"swap_activations": "swish_beta"}], "in_chans": 1},
    "l2": {"head": {"input_norm": "l2"}, "img_size": [24, 40], "channels_last": False},
    "whiten": {"head": {"input_norm": "whiten"}, "surgery": ["fold_norms"]},
    "lora": {"surgery": [{"add_lora": {"rank": 2}}], "objective": "multi_label"},
    "numbers": {"objective": "regression", "name": "test_convnext"},
}


@pytest.mark.slow
@pytest.mark.parametrize("options", HARD.values(), ids=HARD)
def test_a_network_of_any_kind_agrees_with_its_file(make_predictor, tmp_path, options):
    lines = write_onnx(make_predictor(**options), tmp_path / "m.onnx", resize="runner")
    assert any("onnxruntime beside the checkpoint: largest" in line for line in lines)
    assert verify_export(tmp_path / "m.onnx").agrees


@pytest.mark.slow
def test_a_file_that_disagrees_is_not_left_behind(make_predictor, tmp_path, monkeypatch):
    predictor = make_predictor()
    logits = predictor.logits
    monkeypatch.setattr(predictor, "logits", lambda images: logits(images) + torch.eye(3)[:1])
    with pytest.raises(ValueError, match="other predictions than the checkpoint: largest"):
        write_onnx(predictor, tmp_path / "m.onnx", resize="runner")
    assert list(tmp_path.iterdir()) == []


@serializable
class Undecided(nn.Linear):
    """A head whose operations depend on its values."""

    def __init__(self, num_features, num_classes):
        super().__init__(num_features, num_classes)
        self.gate = Gate()

    def forward(self, features):
        return self.gate(super().forward(features))


class Gate(nn.Module):
    def forward(self, logits):
        return logits if logits.sum() > 0 else -logits


@pytest.mark.slow
def test_a_layer_that_torch_cannot_export_is_named(make_predictor, tmp_path):
    with pytest.raises(ValueError, match=r"cannot export the layer head.gate \(Gate\) to ONNX"):
        write_onnx(make_predictor(head=Undecided), tmp_path / "m.onnx", resize="runner")
    assert list(tmp_path.iterdir()) == []


def test_the_temperature_divides_the_logits(make_predictor):
    logits, predictor = torch.tensor([[1.0, 2.0, 4.0]]), make_predictor()
    predictor.task.calibration = Calibration(temperature=2.0)
    expected = torch.softmax(logits / 2, dim=-1)
    assert torch.equal(OutputLayer(predictor)(logits), expected)


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(onnx_file.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tltool\[export\]'"):
        check_packages()


def test_a_file_that_is_no_runner_is_not_written_over(make_predictor, tmp_path):
    (tmp_path / "m_runner.py").write_text("mine")
    with pytest.raises(FileExistsError, match="is no runner"):
        write_onnx(make_predictor(), tmp_path / "m.onnx")
