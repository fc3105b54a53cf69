"""`tltool doctor` finds planted faults, passes what is healthy, and changes nothing."""

import io
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tltool.__main__ import main
from tltool.data.datamodules.manifest import ManifestDataModule
from tltool.models.backbone import Backbone

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.img_size", "32"),
    *("--data.batch_size", "8", "--data.num_workers", "0", "--trainer.max_epochs", "2"),
    *("--trainer.accelerator", "cpu", "--finetuning", "LinearProbe"),
]
RANDOM = ["--model.backbone.weights", "random"]


def draw_image(seed):
    """Draw a smooth image of its own, as real ones are smooth."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (6, 6, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy()).resize((80, 64), Image.Resampling.BICUBIC)


def write_parts(root):
    """Write 8 training and 4 validation images of each of two classes."""
    for seed in range(24):
        folder = root / ("val" if seed % 6 > 3 else "train") / ["ants", "bees"][seed % 2]
        folder.mkdir(parents=True, exist_ok=True)
        draw_image(seed).save(folder / f"{seed}.png")
    return root


def findings(text):
    """Return the text of each row of the table by the name of its check, and the rest."""
    rows, name = {}, ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        if line.startswith("│") and len(cells) == 4:
            name = cells[0] or name
            before = rows.get(name, ["", "", ""])
            rows[name] = [
                f"{old} {new}".strip() for old, new in zip(before, cells[1:], strict=True)
            ]
    return rows


@pytest.fixture(scope="module")
def doctor(tmp_path_factory):
    """Run the command in an empty folder; return its exit status, its rows, output and errors."""

    def run(*args):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path_factory.mktemp("empty"))
            patch.setenv("COLUMNS", "500")
            output, errors = patch_streams(patch)
            try:
                status = main(["doctor", *SMALL, *map(str, args)])
            except SystemExit as stop:
                status = stop.code
            left = list(Path.cwd().iterdir())
        return status, findings(output.getvalue()), output.getvalue(), errors.getvalue(), left

    return run


def patch_streams(patch):
    output, errors = io.StringIO(), io.StringIO()
    patch.setattr("sys.stdout", output)
    patch.setattr("sys.stderr", errors)
    return output, errors


@pytest.fixture(scope="module")
def healthy(doctor, images):
    before = {path: path.read_bytes() for path in images.rglob("*.png")}
    result = doctor("--data.root", images, *RANDOM, "--model.head.input_norm", "standardize")
    assert before == {path: path.read_bytes() for path in images.rglob("*.png")}
    return result


@pytest.fixture(scope="module")
def sick_images(doctor, tmp_path_factory):
    """A run on images with four faults."""
    root = write_parts(tmp_path_factory.mktemp("sick"))
    (root / "train" / "ants" / "half.png").write_bytes(b"\x89PNG no more")
    shutil.copy(root / "train" / "ants" / "0.png", root / "val" / "ants" / "copy.png")
    small = Image.open(root / "train" / "bees" / "1.png").resize((50, 40))
    small.save(root / "val" / "bees" / "small.jpg", quality=60)
    (root / "train" / "wasps").mkdir()
    draw_image(99).save(root / "train" / "wasps" / "99.png")
    return doctor("--data.root", root, *RANDOM)


@pytest.fixture(scope="module")
def sick_network(doctor, images, tmp_path_factory):
    """A run with wrong statistics in the weights, wrong preprocessing, and a head that is dead."""
    file = tmp_path_factory.mktemp("weights") / "sick.safetensors"
    state = Backbone("test_resnet", weights="random").model.state_dict()
    means = {name: mean + 100 for name, mean in state.items() if name.endswith("running_mean")}
    save_file({name: tensor.contiguous() for name, tensor in (state | means).items()}, file)
    return doctor(
        *("--data.root", images, "--model.backbone.weights", file),
        *("--data.preprocessing", "none", "--model.head.hidden_features", "[16]"),
        *("--model.head.initializer", "zeros", "--optimizer.lr", 0),
    )


def test_a_healthy_folder_passes_and_nothing_is_left_behind(healthy):
    status, rows, out, _, left = healthy
    assert status == 0
    assert len(rows) == 16
    assert "0 failed" in out
    assert left == []


def test_each_check_of_a_healthy_folder_is_good_but_for_random_statistics(healthy):
    rows = healthy[1]
    worse = {name for name, (result, *_) in rows.items() if result in ("warning", "failed")}
    assert worse == {"batch norm", "shortcuts"}  # Its classes are colors.
    assert "mean color" in rows["shortcuts"][1]
    assert "weights pretrained" in rows["batch norm"][2]


@pytest.mark.parametrize(
    ("check", "result", "words"),
    [
        ("readable", "failed", "half.png': its content is no image"),
        ("class balance", "warning", "val images have none of wasps"),
        ("exact duplicates", "failed", "train/ants/0.png = val/ants/copy.png"),
        ("near-duplicates", "failed", "train/bees/1.png (train) ~ val/bees/small.jpg (val)"),
    ],
)
def test_a_fault_in_the_images_is_found(sick_images, check, result, words):
    status, rows, *_ = sick_images
    assert status == 1
    assert rows[check][0] == result
    assert words in rows[check][1]


@pytest.mark.parametrize(
    ("check", "result", "words"),
    [
        ("preprocessing", "warning", "mean [0, 0, 0] instead of"),
        ("batch norm", "failed", "not of these weights"),
        ("activations", "failed", "all rows give the same outputs"),
        ("gradients", "failed", "no gradient reaches"),
        ("learning rate", "failed", "at a learning rate of 0, nothing moves in head"),
        ("overfit one batch", "failed", "Not learned"),
    ],
)
def test_a_fault_in_the_network_is_found(sick_network, check, result, words):
    status, rows, *_ = sick_network
    assert status == 1
    assert rows[check][0] == result
    assert words in rows[check][1]


def test_saturated_units_are_found_and_drawn_beside_other_initializers(doctor, images, tmp_path):
    status, rows, out, *_ = doctor(
        *("--data.root", images, *RANDOM, "--plot", tmp_path / "head.png"),
        *("--model.head.hidden_features", "[32, 16]", "--model.head.activation", "tanh"),
        *("--model.head.initializer", "{name: normal, std: 9.0}"),
        *("--model.head.input_norm", "standardize"),
    )
    assert status == 1
    assert "tanh units are saturated" in rows["activations"][1]
    assert "normal (chosen)" in out
    with Image.open(tmp_path / "head.png") as picture:
        assert picture.width > 600


def test_a_missing_part_is_an_error_with_a_remedy(doctor, tmp_path):
    write_parts(tmp_path)
    rows = [f"{path},{path.parent.name},val" for path in sorted(tmp_path.rglob("*.png"))]
    (tmp_path / "only.csv").write_text("\n".join(["path,label,split", *rows]))
    status, _, _, err, _ = doctor(
        *("--data", "ManifestDataModule", "--data.manifest", tmp_path / "only.csv"), *RANDOM
    )
    assert status == 1
    assert "no images for training. Give rows with split = train." in err


def test_the_written_groups_keep_copies_on_one_side(doctor, tmp_path):
    root = write_parts(tmp_path / "images")
    Image.open(root / "train" / "bees" / "1.png").resize((40, 32)).save(root / "val/bees/s.png")
    file = tmp_path / "groups.csv"
    _, _, out, *_ = doctor("--data.root", root, *RANDOM, "--write_groups", file)
    assert "25 images in 24 groups" in out
    for seed in range(5):
        splits = ManifestDataModule(file, seed=seed).splits
        parts = [{Path(p).name for p in part.paths} for part in (splits.train, splits.val)]
        assert any({"1.png", "s.png"} <= names for names in parts)


def test_few_of_many_images_are_drawn_and_this_is_said(doctor, images):
    _, rows, out, *_ = doctor("--data.root", images, *RANDOM, "--max_images", 16)
    assert "17 images of 24, drawn at random" in rows["readable"][1]
    assert "copies are found where both were drawn" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--write_groups", "groups.txt"], "Write --write_groups groups.csv"),
        (["--write_groups", "nowhere/groups.csv"], "no folder 'nowhere'"),
        (["--plot", "head.txt"], "must end in .png or .svg or .pdf"),
        (["--max_images", 0], "must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused_before_it_takes_time(doctor, images, args, message):
    status, _, out, err, _ = doctor("--data.root", images, *RANDOM, *args)
    assert status == 1
    assert message in err
    assert out == ""


def test_a_wrong_option_is_wrong_usage(doctor, images):
    status, _, _, err, _ = doctor("--data.root", images, "--max-fotos", 9)
    assert status == 2
    assert "See --help" in err


@pytest.mark.slow
@pytest.mark.timeout(600)  # Real images through a real network.
def test_the_quickstart_passes(doctor):
    status, rows, out, *_ = doctor("--config", CONFIGS / "quickstart.yaml")
    assert status == 0, out
    assert rows["exact duplicates"][0] == "ok"


def test_splits_that_would_be_read_as_classes_stop_it(doctor, tmp_path):
    write_parts(tmp_path / "all")
    (tmp_path / "all" / "train").rename(tmp_path / "Training")
    (tmp_path / "all" / "val").rename(tmp_path / "Testing")
    (tmp_path / "all").rmdir()
    status, rows, _, errors, _ = doctor("--data.root", tmp_path, *RANDOM)
    assert (status, rows) == (1, {})
    assert "--data.split_folders '{train: Training, test: Testing}'" in errors
