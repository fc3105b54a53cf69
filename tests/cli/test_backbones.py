import re
import subprocess
import sys

import huggingface_hub
import pytest
import torch

from tltool.__main__ import main
from tltool.cli.backbone_cells import parse_count, short_count
from tltool.cli.backbone_ranking import open_data
from tltool.diagnostics.advice.backbone_ranking import smaller_splits
from tltool.models.backbone import Backbone
from tltool.models.timm_catalog import GOOD_STARTS
from tltool.models.weights.safetensors_file import save_weights

MODELS = ("test_resnet", "test_vit")


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command without caches or a hub, and return its status, output and errors."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("COLUMNS", "100")

    def run_command(*arguments):
        status = main(["backbones", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run_command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the weights of two small models, and a file that says nothing."""
    folder = tmp_path_factory.mktemp("weights")
    for name in MODELS:
        torch.manual_seed(0)
        model = Backbone(name, weights="random").model
        save_weights(folder / f"{name}.safetensors", model.state_dict(), {"name": name})
    torch.save({"a": torch.ones(1)}, folder / "mine.pth")
    return folder


def row(text, name):
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [name])


def test_a_row_tells_parameters_size_family_and_weights(run):
    _, text, _ = run("mobilenetv2_1?0")
    assert row(text, "mobilenetv2_100")[:5] == ["mobilenetv2_100", "2.22M", "224", "efficientnet",
                                            "ra_in1k"]  # fmt: skip


def test_a_long_list_is_cut_and_says_how_to_see_the_rest(run):
    _, text, _ = run("--rows", 5)
    total = re.search(r"5 of (\d+); all: --rows \1", text)
    assert int(total[1]) > 1000


def names(text):
    return [line.split()[0] for line in text.splitlines() if re.match(r" +\S+ +[\d.]+[KMB] ", line)]


def test_without_arguments_a_short_list_of_good_starts_is_shown(run):
    _, text, _ = run()
    assert sorted(names(text)) == sorted(GOOD_STARTS)
    assert names(text)[0] == "tf_efficientnet_lite0"  # available locally
    assert re.search(r"12 of (\d{4}); all: --rows \1", text)


def test_names_that_begin_with_the_pattern_come_first(run):
    _, text, _ = run("vit")
    assert all(name.startswith("vit_") for name in names(text))
    _, text, _ = run("vit", "--sort", "name")
    assert names(text)[0] == "convit_base"


def test_of_these_the_ones_available_locally_come_first(run, folder):
    _, text, _ = run("test_", "--weights_dir", folder)
    assert names(text)[:3] == ["test_resnet", "test_vit", "test_byobnet"]


def test_models_are_sorted_by_parameters_on_demand(run):
    _, text, _ = run("resnet", "--sort", "parameters", "--rows", 1)
    assert "test_resnet" in text


def test_one_model_is_shown_with_all_its_weights_and_their_licenses(run):
    _, text, _ = run("resnet18")
    assert row(text, "resnet18.fb_swsl_ig1b_ft_in1k")[3] == "cc-by-nc-4.0"
    assert "11,176,512 parameters without the classifier" in text


def test_offline_lists_what_is_in_packages_and_in_the_folder(run, folder):
    status, text, errors = run("--offline", "--weights_dir", folder)
    assert status == 0
    assert row(text, "tf_efficientnet_lite0")[-1] == "package"
    assert row(text, "test_vit")[-1] == "file"
    assert "left out: mine.pth" in errors


def test_nothing_found_offers_the_nearest_names(run):
    status, _, errors = run("resnt18")
    assert status == 1
    assert "Did you mean resnet18" in errors


def test_fetching_needs_a_folder(run):
    status, _, errors = run("--fetch", "test_resnet")
    assert status == 1
    assert "Give both" in errors


def test_fetching_without_a_network_is_one_line(run, tmp_path):
    status, _, errors = run("--fetch", "test_resnet", "--to", tmp_path / "weights")
    assert status == 1
    assert errors.startswith("error: Cannot fetch test_resnet; nothing was written.")
    assert "Traceback" not in errors


def test_fetching_says_how_to_use_the_file(run, tmp_path):
    status, text, _ = run("--fetch", "tf_efficientnet_lite0", "--to", tmp_path)
    file = tmp_path / "tf_efficientnet_lite0.safetensors"
    assert status == 0
    assert f"tf_efficientnet_lite0 --model.backbone.weights {file}" in text
    assert file.is_file()


def test_a_ranking_has_a_row_for_each_model_at_hand_the_best_first(run, folder, images):
    status, text, _ = run("test_", "--rank", images, "--weights_dir", folder)
    rows = [line.split() for line in text.splitlines() if line.split()[:1] and
            line.split()[0] in MODELS]  # fmt: skip
    assert status == 0
    assert {cells[0] for cells in rows} == set(MODELS)
    assert float(rows[0][5]) >= float(rows[1][5])
    assert f"use      tltool fit --model.backbone.name {rows[0][0]}" in text


def test_what_cannot_be_loaded_is_left_out_of_a_ranking(run, folder, images, tmp_path):
    (tmp_path / "test_vit.pth").write_text("no weights")
    save_weights(tmp_path / "test_resnet.safetensors",
                 Backbone("test_resnet", weights="random").model.state_dict(), {})  # fmt: skip
    status, text, errors = run("test_", "--rank", images, "--weights_dir", tmp_path)
    assert status == 0
    assert "left out: test_vit" in errors
    assert row(text, "test_resnet")


def test_nothing_to_rank_says_where_weights_come_from(run, images):
    status, _, errors = run("test_", "--rank", images)
    assert status == 1
    assert "No backbone fits" in errors


def test_data_that_is_not_there_says_what_to_name(run, folder, tmp_path):
    status, _, errors = run("test_", "--rank", tmp_path / "no", "--weights_dir", folder)
    assert status == 1
    assert "Name a folder with one folder of images for each class" in errors


def test_of_many_images_some_of_each_class_are_looked_at(images):
    data = open_data(str(images))
    splits = smaller_splits(data, 8)
    assert splits.train.class_counts(2) == [4, 4]
    assert len(splits.val) == len(data.samples("val"))


def test_too_few_images_are_refused(images):
    with pytest.raises(ValueError, match="Set --max_images 40"):
        smaller_splits(open_data(str(images)), 3)


@pytest.mark.parametrize("text", ["", "ten", "10G", "-3M"])
def test_what_is_no_number_of_parameters_says_how_to_write_one(text):
    with pytest.raises(ValueError, match=r"Write 10M, 800K or 1\.5B"):
        parse_count(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00K"), (99_990, "100K"), (999_999, "1.00M")],
)
def test_a_count_has_three_digits(count, text):
    assert short_count(count) == text


def test_a_reader_that_leaves_is_no_error():
    script = f"{sys.executable} -m tltool activations | head -1"
    run = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert "Traceback" not in run.stderr
    assert "BrokenPipe" not in run.stderr


@pytest.mark.slow
def test_the_list_imports_no_lightning():
    code = "import sys, tltool.cli.backbones; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_model_tells_what_was_tried_with_its_module(run):
    _, text, _ = run("resnet18")
    assert "surgery  12 of 12 activations of test_resnet swapped\n" in text
    assert "tried    keys and values kept, the same after a reload, finite gradients" in text
