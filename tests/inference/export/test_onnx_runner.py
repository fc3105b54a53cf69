"""The runner and the check of a file, on a small graph that is written by hand."""

import base64
import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from tltool.__main__ import main
from tltool.inference.export import onnx_runner
from tltool.inference.export.golden_images import golden_images
from tltool.inference.export.onnx_contents import content_hashes
from tltool.inference.export.onnx_runner import (
    RUNNERS,
    OnnxModel,
    floats_as_text,
    package_versions,
)
from tltool.inference.export.runner_file import runner_source
from tltool.inference.export.verification import verify_export

GRAPH = """<ir_version: 10, opset_import: ["": 20]>
colors (uint8[batch, height, width, 3] images) => (float[batch, 2] logits, float[batch, 2] odds)
<float[3, 2] weight = {0.01, -0.02, 0.02, 0.01, -0.03, 0.02}, int64[2] edges = {1, 2}> {
    levels = Cast<to = 1>(images)
    mean = ReduceMean<keepdims = 0>(levels, edges)
    logits = MatMul(mean, weight)
    odds = Softmax<axis = -1>(logits)
}"""
WITH_SCORE = GRAPH.replace(
    "float[batch, 2] odds)", "float[batch, 2] odds, float[batch] unknown_score)"
).replace(
    "odds = Softmax<axis = -1>(logits)",
    """odds = Softmax<axis = -1>(logits)
    last = Constant<value = int64[1] {-1}>()
    unknown_score = ReduceMin<keepdims = 0>(logits, last)""",
)
# Whatever imports one of these ends the process.
APART = "import sys; sys.modules |= {name: None for name in ('torch', 'tltool', 'onnx', 'timm')};"


def with_metadata(model, texts):
    """Return a file that says about itself what an export says."""
    texts = {name: json.dumps(value) for name, value in texts.items()}
    texts["contents"] = json.dumps(content_hashes(model.SerializeToString(), texts))
    for name, text in texts.items():
        model.metadata_props.add(key=name, value=text)
    return model.SerializeToString()


def golden_facts(session):
    """Return the golden images with what a graph makes of them."""
    facts = []
    for name, content in golden_images().items():
        pixels = np.asarray(onnx_runner.read_image(content))[None]
        logits, odds, *scores = session.run(None, {"images": pixels})
        outputs = {"logits": floats_as_text(logits[0]), "output": floats_as_text(odds[0])}
        if scores:
            outputs["unknown_score"] = floats_as_text(scores[0])
        facts.append({"name": name, "image": base64.b64encode(content).decode(), **outputs})
    return facts


@pytest.fixture
def file(tmp_path):
    """A file as `tltool export` writes it."""
    return write_file(tmp_path, GRAPH)


@pytest.fixture
def scored_file(tmp_path):
    """The same of a checkpoint that knows what is unknown."""
    return write_file(tmp_path, WITH_SCORE, unknown_threshold=-1.0)


def write_file(tmp_path, graph, **further):
    model = onnx.parser.parse_model(graph)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    decode = {"mode": "RGB", "size": None, "value_range": None}
    facts = {
        "class_names": ["ants", "bees"],
        "objective": "single_label",
        "decode": decode,
        "resize": "graph",
        "tolerance": 1e-3,
        "versions": package_versions(RUNNERS),
        "golden_images": golden_facts(session),
        **further,
    }
    (tmp_path / "m.onnx").write_bytes(with_metadata(model, facts))
    (tmp_path / "m_runner.py").write_text(runner_source(), encoding="utf-8")
    return tmp_path / "m.onnx"


def edit(path, change):
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def run_apart(file, *arguments):
    code = f"{APART} sys.path.insert(0, {str(file.parent)!r}); import m_runner;"
    code += f"sys.exit(m_runner.main([{str(file)!r}, *sys.argv[1:]]))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_file_that_nobody_changed_is_as_exported(file):
    check = verify_export(file)
    assert check.agrees
    assert check.lines() == ["as exported", "5 golden images: off by 0.0e+00 at most"]


def test_a_name_in_upper_case_is_verified_too(file):
    assert verify_export(file.rename(file.with_name("M.ONNX"))).agrees


def test_a_changed_weight_is_named_though_no_prediction_shows_it(file):
    def change(model):
        values = np.array(onnx.numpy_helper.to_array(model.graph.initializer[0]))
        values[0, 0] += 1e-7
        model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(values, "weight"))

    edit(file, change)
    assert verify_export(file).differences == ["changed: weight weight"]


def test_a_changed_operation_is_named_with_the_golden_images_that_it_moves(file):
    edit(file, lambda model: setattr(model.graph.node[3], "op_type", "LogSoftmax"))
    changed, *golden = verify_export(file).differences
    assert changed == "changed: graph"
    assert [line.partition(":")[0] for line in golden] == [
        f"golden image {name}" for name in golden_images()
    ]


def test_changed_metadata_are_named(file):
    def change(model):
        next(each for each in model.metadata_props if each.key == "class_names").value = '["a"]'

    edit(file, change)
    assert verify_export(file).differences == ["changed: metadata class_names"]


def test_metadata_of_others_are_named_and_do_not_keep_it_from_predicting(file):
    edit(file, lambda model: model.metadata_props.add(key="note", value="approved"))
    assert verify_export(file).differences == ["changed: metadata note"]
    assert OnnxModel(file).predict([np.zeros((8, 8, 3), np.uint8)])


def test_metadata_that_are_gone_are_named(file):
    def change(model):
        gone = next(each for each in model.metadata_props if each.key == "contents")
        model.metadata_props.remove(gone)

    edit(file, change)
    with pytest.raises(ValueError, match=r"has lost some of its metadata: contents\. Export it"):
        verify_export(file)


def test_another_version_is_named_and_is_no_difference(file, monkeypatch):
    now = {**package_versions(RUNNERS), "onnxruntime": "9.9"}
    monkeypatch.setattr(onnx_runner, "package_versions", lambda names: now)
    check = verify_export(file)
    assert check.agrees
    assert check.notes[1].endswith("at the export, 9.9 here")


@pytest.mark.parametrize(("name", "reason"), [("m.onnx", "onnxruntime cannot read"), ("m.pt2", "")])
def test_a_file_that_is_no_export_is_refused(tmp_path, name, reason):
    (tmp_path / name).write_bytes(b"no protocol buffers")
    with pytest.raises(ValueError, match=reason or "holds no golden images"):
        verify_export(tmp_path / name)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "m.onnx").touch()
    with pytest.raises(ValueError, match="onnxruntime cannot read"):
        verify_export(tmp_path / "m.onnx")


def test_a_graph_of_someone_else_is_refused(tmp_path):
    onnx.save(onnx.parser.parse_model(GRAPH), tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="not written by `tltool export --to onnx`"):
        verify_export(tmp_path / "other.onnx")


def test_the_runner_checks_the_file_where_there_is_neither_torch_nor_tltool(file):
    result = run_apart(file)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("as exported\n5 golden images")


def test_the_runner_predicts_where_there_is_neither_torch_nor_tltool(file, tmp_path):
    Image.new("RGB", (30, 20), (200, 30, 30)).save(tmp_path / "a.png")
    result = run_apart(file, tmp_path / "a.png")
    assert json.loads(result.stdout)["class"] == "ants", result.stderr


@pytest.mark.parametrize(
    ("thresholds", "classes"),
    [({}, ["bees"]), ({"thresholds": [0.1, 0.0]}, ["ants", "bees"]), ({"thresholds": [1, 1]}, [])],
)
def test_of_several_classes_the_runner_names_those_beyond_their_thresholds(
    tmp_path, thresholds, classes
):
    file = write_file(tmp_path, GRAPH, objective="multi_label", **thresholds)
    Image.new("RGB", (30, 20), (30, 30, 30)).save(tmp_path / "a.png")
    said = json.loads(run_apart(file, tmp_path / "a.png").stdout)
    assert (said["classes"], "class" in said) == (classes, False)


@pytest.mark.parametrize(("color", "is_unknown"), [((1, 1, 1), True), ((200, 0, 0), False)])
def test_the_runner_prints_the_score_of_unknown_inputs(scored_file, tmp_path, color, is_unknown):
    image = Image.new("RGB", (30, 20), color)
    image.save(tmp_path / "a.png")
    said = json.loads(run_apart(scored_file, tmp_path / "a.png").stdout)
    (score,) = onnx_runner.OnnxModel(scored_file).unknown_scores([image]).tolist()
    assert (said["unknown_score"], said["is_unknown"]) == (score, is_unknown)


def test_a_score_that_has_moved_is_named(scored_file):
    def change(model):
        model.graph.node[-1].op_type = "ReduceMax"

    edit(scored_file, change)
    assert "golden image JPEG: another unknown_score" in verify_export(scored_file).differences


def test_a_file_without_a_score_says_so(file):
    with pytest.raises(ValueError, match="has no score of unknown inputs"):
        onnx_runner.OnnxModel(file).unknown_scores([Image.new("RGB", (9, 9))])


def test_the_runner_names_a_broken_image(file, tmp_path):
    (tmp_path / "a.jpg").write_text("no image")
    result = run_apart(file, tmp_path / "a.jpg")
    assert result.returncode == 1
    assert "a.jpg': its content is no image that Pillow knows" in result.stderr


def test_images_of_several_sizes_are_predicted_in_their_order(file):
    colors = [(200, 30, 30), (30, 30, 200), (30, 30, 200), (200, 30, 30)]
    sizes = [(8, 9), (20, 10), (20, 10), (20, 10)]
    images = [Image.new("RGB", size, color) for size, color in zip(sizes, colors, strict=True)]
    found = onnx_runner.OnnxModel(file).predict(images, batch_size=2)
    assert [next(iter(each)) for each in found] == ["ants", "bees", "bees", "ants"]


def test_no_name_of_the_runner_is_defined_twice():
    lines = runner_source().splitlines()
    names = [line.split("(")[0] for line in lines if line.startswith(("def ", "class "))]
    assert len(names) == len(set(names)) > 40


def test_the_command_verifies_a_file_and_its_status_says_so(file, capsys):
    assert main(["verify", str(file)]) == 0
    assert capsys.readouterr().out.startswith("as exported\n")
    edit(file, lambda model: setattr(model.graph.node[3], "op_type", "LogSoftmax"))
    assert main(["verify", str(file)]) == 1
    assert "changed: graph" in capsys.readouterr().out
