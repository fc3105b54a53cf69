import contextlib
import csv
import io
import itertools
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image, ImageOps

import tltool
from tltool.__main__ import main

# Any attempt to open a connection ends the process.
WITHOUT_NETWORK = """
import socket, sys
def refuse(*args, **kwargs): raise SystemExit("a connection was opened")
socket.socket.connect = socket.create_connection = refuse
import tltool
prediction = tltool.load(sys.argv[1]).predict(sys.argv[2])
print(prediction.label, *[f"{p:.6f}" for p in prediction.probabilities.values()])
"""


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    """A finished run of full fine-tuning on the blue and red images."""
    folder = tmp_path_factory.mktemp("run")
    args = ["--runs_dir", str(folder), "--name", "colors", "--data.root", str(images)]
    args += ["--model.backbone.name", "test_efficientnet", "--model.backbone.weights", "random"]
    args += ["--model.backbone.img_size", "32", "--data.batch_size", "4", "--data.num_workers", "0"]
    args += ["--trainer.max_epochs", "4", "--finetuning", "FullFinetuning"]
    status = main(["fit", *args, "--optimizer.lr", "0.003"])
    assert status == 0
    return folder / "colors" / "0"


def width(path):
    with Image.open(path) as image:
        return image.size[0]


@pytest.fixture
def checkpoint(run):
    return run / "checkpoints" / "last.ckpt"


def test_an_image_gets_a_class_and_probabilities_that_sum_to_one(checkpoint, images):
    prediction = tltool.load(checkpoint).predict(images / "red" / "00.png")
    assert set(prediction.probabilities) == {"blue", "red"}
    assert prediction.label == max(prediction.probabilities, key=prediction.probabilities.get)
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-6)


def test_an_image_alone_is_predicted_as_in_a_batch(checkpoint, images):
    predictor = tltool.load(checkpoint)
    paths = sorted((images / "red").iterdir())
    together = [p.probabilities["red"] for p in predictor.predict(paths)]
    alone = [predictor.predict(path).probabilities["red"] for path in paths]
    assert alone == pytest.approx(together, abs=1e-5)


def test_an_open_image_is_predicted_as_its_file(checkpoint, images):
    predictor = tltool.load(checkpoint)
    path = images / "blue" / "01.png"
    with Image.open(path) as image:
        opened = predictor.predict(image)
    assert opened.probabilities == pytest.approx(predictor.predict(path).probabilities, abs=1e-6)


def turned(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    gradient().save(path, exif=exif)


def transparent(path):
    image = gradient()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(path)


def sixteen_bits(path):
    Image.fromarray(np.asarray(gradient().convert("L")).astype(np.uint16) * 257).save(path)


def gradient():
    red = Image.linear_gradient("L").resize((60, 40))
    return Image.merge("RGB", (red, red.rotate(180), ImageOps.flip(red)))


@pytest.mark.parametrize("write", [turned, transparent, sixteen_bits])
def test_an_open_image_of_any_kind_is_predicted_as_its_file(checkpoint, tmp_path, write):
    write(tmp_path / "image.png")
    predictor = tltool.load(checkpoint)
    with Image.open(tmp_path / "image.png") as image:
        opened = predictor.predict(image)
    assert opened == predictor.predict(tmp_path / "image.png")


def test_bytes_arrays_and_tensors_are_predicted_as_their_file(checkpoint, images):
    path, predictor = images / "red" / "02.png", tltool.load(checkpoint)
    with Image.open(path) as image:
        array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    found = [predictor.predict(one) for one in (path.read_bytes(), array, tensor)]
    assert found == [predictor.predict(path)] * 3


def ways(path, stack):
    """Return an image in each form that a predictor takes."""
    content, array = path.read_bytes(), pixels_of(path)
    return {
        "path": path,
        "name": str(path),
        "bytes": content,
        "bytearray": bytearray(content),
        "file": stack.enter_context(path.open("rb")),
        "stream": io.BytesIO(content),
        "open image": stack.enter_context(Image.open(path)),
        "loaded image": ImageOps.exif_transpose(stack.enter_context(Image.open(path))),
        "array": array,
        "tensor": torch.from_numpy(np.atleast_3d(array).transpose(2, 0, 1)),
    }


def pixels_of(path):
    """Return what NumPy makes of an image; of CMYK, four channels would be taken for RGBA."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
    return np.array(image.convert("RGB") if image.mode == "CMYK" else image)


def jpeg(path):
    gradient().save(path.with_suffix(".jpg"))


def cmyk(path):
    gradient().convert("CMYK").save(path.with_suffix(".jpg"))


@pytest.mark.parametrize("write", [jpeg, cmyk, turned, transparent, sixteen_bits])
def test_an_image_is_predicted_alike_whichever_way_it_is_given(checkpoint, tmp_path, write):
    write(tmp_path / "image.png")
    (path,) = tmp_path.iterdir()
    predictor = tltool.load(checkpoint)
    with contextlib.ExitStack() as stack:
        found = {name: predictor.predict(way) for name, way in ways(path, stack).items()}
    assert {name: one for name, one in found.items() if one != found["path"]} == {}


def test_a_large_jpeg_in_memory_is_predicted_nearly_as_its_file(checkpoint, tmp_path):
    gradient().resize((900, 600)).save(tmp_path / "large.jpg")
    predictor = tltool.load(checkpoint)
    of_file = predictor.predict(tmp_path / "large.jpg")
    of_pixels = predictor.predict(pixels_of(tmp_path / "large.jpg"))
    assert of_pixels.probabilities == pytest.approx(of_file.probabilities, abs=5e-3)


def test_a_generator_is_predicted_in_batches(checkpoint, images, monkeypatch):
    predictor, sizes = tltool.load(checkpoint), []
    paths = sorted((images / "red").iterdir())[:5]
    step = predictor.task.predict_step
    note = lambda batch, number: sizes.append(len(batch["images"])) or step(batch, number)  # noqa: E731
    monkeypatch.setattr(predictor.task, "predict_step", note)
    found = predictor.predict((path for path in paths), batch_size=2)
    assert [one.path for one in found] == list(map(str, paths))
    assert sizes == [2, 2, 1]


def test_an_endless_stream_is_predicted_as_it_comes(checkpoint, images):
    path = images / "red" / "00.png"
    stream = tltool.load(checkpoint).predict_each(itertools.repeat(path), batch_size=2)
    assert next(stream) == next(stream)


def test_a_directory_is_predicted_by_predict_too(checkpoint, images):
    predictor = tltool.load(checkpoint)
    found = predictor.predict(images, batch_size=7)
    assert {one.path: one for one in found} == predictor.predict_folder(images, batch_size=7)


def test_a_directory_without_images_is_refused(checkpoint, tmp_path):
    with pytest.raises(FileNotFoundError, match="has no images"):
        tltool.load(checkpoint).predict(tmp_path)


def test_an_image_of_many_that_is_none_is_named_by_its_position(checkpoint, images):
    good = (images / "red" / "00.png").read_bytes()
    with pytest.raises(ValueError, match=r"Image 2, counted from 0: a bytes of 4 bytes"):
        tltool.load(checkpoint).predict([good, good, b"none"], batch_size=2)


def test_a_predictor_says_what_it_is(checkpoint):
    text = repr(tltool.load(checkpoint).to("cpu"))
    assert text.endswith("test_efficientnet, 32 px, 2 classes (blue, red), on cpu)")


def test_logits_have_the_probabilities(checkpoint, images):
    predictor, path = tltool.load(checkpoint), images / "red" / "00.png"
    probabilities = predictor.logits([path]).softmax(dim=1)[0].tolist()
    found = predictor.predict(path).probabilities
    assert [found["blue"], found["red"]] == pytest.approx(probabilities, abs=1e-6)


def test_an_array_of_four_dimensions_is_several_images(checkpoint):
    arrays = np.zeros((5, 32, 32, 3), dtype=np.uint8)
    assert len(tltool.load(checkpoint).predict(arrays, batch_size=2)) == 5


def test_a_folder_is_predicted_by_path(checkpoint, images):
    predictions = tltool.load(checkpoint).predict_folder(images, batch_size=7)
    assert len(predictions) == 24


@pytest.mark.slow
def test_a_fresh_process_without_a_network_predicts_the_same(checkpoint, images):
    path = images / "red" / "05.png"
    args = [sys.executable, "-c", WITHOUT_NETWORK, str(checkpoint), str(path)]
    result = subprocess.run(args, capture_output=True, text=True, check=True)
    here = tltool.load(checkpoint).predict(path)
    expected = [here.label, *(f"{p:.6f}" for p in here.probabilities.values())]
    assert result.stdout.split() == expected


def test_a_folder_becomes_a_table(checkpoint, images, tmp_path):
    output = tmp_path / "table.csv"
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(images), "--output", str(output)]
    assert main(["predict", *args, "--data.num_workers", "0"]) == 0
    rows = list(csv.DictReader(output.read_text().splitlines()))
    columns = ["path", "label", "prediction", "probability:blue", "probability:red"]
    assert list(rows[0]) == columns
    assert {row["label"] for row in rows} == {"blue", "red"}
    assert len(rows) == 24
    assert rows[0]["prediction"] == tltool.load(checkpoint).predict(rows[0]["path"]).label


def test_validating_measures_what_training_measured(run, checkpoint, images, capsys):
    metrics = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    last = [row["val/loss"] for row in metrics if row["val/loss"]][-1]
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(images), "--data.num_workers", "0"]
    assert main(["validate", *args]) == 0
    assert f"{float(last):.4f}" in capsys.readouterr().out


def test_a_report_writes_two_pictures_and_three_scores(run, capsys):
    assert main(["report", str(run.parent)]) == 0
    out = capsys.readouterr().out
    assert all(row in out for row in ("majority class", "closed-form probe", "this run"))
    assert width(run / "curves.png") > 500
    assert width(run / "predictions.png") > 500


def test_labels_that_the_checkpoint_does_not_know_are_refused(checkpoint, images, tmp_path, capsys):
    for name in ("green", "red"):
        (tmp_path / "other" / "val" / name).mkdir(parents=True)
        Image.open(images / "red" / "00.png").save(tmp_path / "other" / "val" / name / "0.png")
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(tmp_path / "other")]
    assert main(["validate", *args]) == 1
    assert "green" in capsys.readouterr().err


def test_a_folder_that_is_not_there_for_the_table_is_named(checkpoint, images, tmp_path, capsys):
    output = tmp_path / "no" / "table.csv"
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(images), "--output", str(output)]
    assert main(["predict", *args]) == 1
    assert "Create it first" in capsys.readouterr().err


def test_images_without_a_known_class_get_no_label(checkpoint, images, tmp_path):
    (tmp_path / "new").mkdir()
    shutil.copy(images / "red" / "00.png", tmp_path / "new" / "unknown.png")
    output = tmp_path / "table.csv"
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(tmp_path / "new")]
    assert main(["predict", *args, "--output", str(output), "--data.num_workers", "0"]) == 0
    assert output.read_text().startswith("path,prediction,")


def test_an_unknown_table_format_is_refused(checkpoint, images, tmp_path, capsys):
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(images)]
    assert main(["predict", *args, "--output", str(tmp_path / "table.xlsx")]) == 1
    assert "must end in .csv or .parquet" in capsys.readouterr().err


def test_a_parquet_table_holds_the_same_rows(checkpoint, images, tmp_path):
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(images), "--data.num_workers", "0"]
    assert main(["predict", *args, "--output", str(tmp_path / "table.parquet")]) == 0
    assert main(["predict", *args, "--output", str(tmp_path / "table.csv")]) == 0
    parquet = pq.read_table(tmp_path / "table.parquet").to_pylist()
    rows = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [row["prediction"] for row in parquet] == [row["prediction"] for row in rows]
    assert list(parquet[0]) == list(rows[0])


def test_a_manifest_is_predicted_with_its_labels(checkpoint, images, tmp_path):
    rows = [f"{path},{path.parent.name}" for path in sorted(images.rglob("*.png"))]
    (tmp_path / "images.csv").write_text("\n".join(["path,label", *rows]))
    args = ["--ckpt_path", str(checkpoint), "--data", "ManifestDataModule"]
    args += ["--data.manifest", str(tmp_path / "images.csv"), "--data.num_workers", "0"]
    assert main(["predict", *args, "--output", str(tmp_path / "table.csv")]) == 0
    table = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [row["label"] for row in table] == [path.split(",")[1] for path in rows]


def test_paths_on_standard_input_are_predicted_in_order(checkpoint, images, tmp_path, monkeypatch):
    paths = [str(images / name) for name in ("red/05.png", "blue/01.png", "red/00.png")]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(paths).encode())))
    args = ["--ckpt_path", str(checkpoint), "--data.root", "-", "--data.num_workers", "0"]
    assert main(["predict", *args, "--output", str(tmp_path / "table.csv")]) == 0
    table = csv.DictReader((tmp_path / "table.csv").read_text().splitlines())
    assert [row["path"] for row in table] == paths


def test_a_path_on_standard_input_without_a_file_is_named(checkpoint, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"no/such.png\n")))
    assert main(["predict", "--ckpt_path", str(checkpoint), "--data.root", "-"]) == 1
    assert "1 of 1 paths on standard input are no files, such as 'no/such.png'" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_name_that_is_no_utf8_is_written_escaped(checkpoint, images, tmp_path, suffix):
    (tmp_path / "new").mkdir()
    path = tmp_path / "new" / os.fsdecode(b"K\xe4fer.png")
    shutil.copy(images / "red" / "00.png", path)
    args = ["--ckpt_path", str(checkpoint), "--data.root", str(tmp_path / "new")]
    output = tmp_path / f"table.{suffix}"
    assert main(["predict", *args, "--output", str(output), "--data.num_workers", "0"]) == 0
    assert b"K\\xe4fer.png" in output.read_bytes()


def test_outputs_that_are_no_numbers_are_no_prediction(run, images):
    predictor = tltool.load(run / "checkpoints" / "best.ckpt")
    with torch.no_grad():
        predictor.task.head.output.weight.fill_(3e38).mul_(10)
    first = next(iter(sorted(images.rglob("*.png"))))
    with pytest.raises(ValueError, match=rf"best\.ckpt gives no numbers for 1 of 1 .*{first.name}"):
        predictor.predict(first)
