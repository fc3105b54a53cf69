"""`validate` and `test` over two ranks measure what one process does, image by image."""

import runpy
from pathlib import Path

import pytest
import torch
from PIL import Image

JOB = Path(__file__).with_name("measure_job.py")
NUM_IMAGES = [11, 4, 1]  # An uneven last batch, whole ones, and less than there are ranks.
COUNTED = ["val/accuracy", "val/f1"]
LABELS = ["0", "0;1", "", "1"]
FLOATS = ["val/loss", "val/auroc", "val/calibration_error"]


def write_images(root, num_images):
    generator = torch.Generator().manual_seed(0)
    for number in range(num_images):
        folder = root / "val" / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(256, (16, 16, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{number:02}.png")
    (root / "val" / "1").mkdir(exist_ok=True)
    rows = [f"val/{n % 2}/{n:02}.png,{LABELS[n % 4]},val" for n in range(num_images)]
    (root / "labels.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")


@pytest.fixture(scope="module")
def measured(run_two_ranks, tmp_path_factory):
    """What two ranks and one process find, by the number of images."""
    roots, folder = tmp_path_factory.mktemp("roots"), tmp_path_factory.mktemp("found")
    for number in NUM_IMAGES:
        write_images(roots / str(number), number)
    run_two_ranks(JOB, roots, folder)
    job = runpy.run_path(str(JOB))
    return {
        number: {
            "ranks": [torch.load(folder / f"{number} {rank}.pt") for rank in range(2)],
            "one": job["measure"](roots / str(number), devices=1),
            "labels": [*map(job["plain"], job["measure_labels"](roots / str(number), 1))],
        }
        for number in NUM_IMAGES
    }


@pytest.mark.parametrize("number", NUM_IMAGES)
def test_ranks_see_each_image_once_and_predict_it_as_one_process(measured, number):
    first, second = (found["rows"] for found in measured[number]["ranks"])
    expected = measured[number]["one"]["rows"]
    assert len(first) + len(second) == len(expected) == number
    torch.testing.assert_close(first | second, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("number", NUM_IMAGES)
def test_counts_are_equal(measured, number):
    for found in measured[number]["ranks"]:
        one = measured[number]["one"]
        assert torch.equal(found["confusion"], one["confusion"])
        assert [found["values"][name] for name in COUNTED] == [
            one["values"][name] for name in COUNTED
        ]


@pytest.mark.parametrize("number", NUM_IMAGES)
def test_loss_auroc_and_calibration_agree(measured, number):
    ours = [measured[number]["one"]["values"][name] for name in FLOATS]
    for found in measured[number]["ranks"]:
        theirs = [found["values"][name] for name in FLOATS]
        torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("number", NUM_IMAGES)
def test_several_labels_are_measured_on_each_image_once(measured, number):
    values, classes = measured[number]["labels"]
    for found in measured[number]["ranks"]:
        theirs, their_classes = found["labels"]
        assert theirs == pytest.approx(values, abs=1e-6, nan_ok=True)
        assert str(their_classes) == str(classes)  # NaN is no equal of itself.
