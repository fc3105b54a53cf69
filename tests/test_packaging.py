"""The wheel runs by itself: outside the checkout, with no package but the ones that it asks for."""

import os
import re
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

CHECKOUT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


def required(package, extras, found):
    """Collect the names of the installed distributions that one needs, and what these need."""
    for text in package.requires or []:
        requirement = Requirement(text)
        environments = [{"extra": extra} for extra in extras or [""]]
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate(each) for each in environments):
            continue
        key = (re.sub(r"[-_.]+", "-", requirement.name).lower(), frozenset(requirement.extras))
        if key not in found:
            found.add(key)
            needed = package if key[0] == "tltool" else distribution(requirement.name)
            required(needed, requirement.extras, found)
    return {key[0] for key in found} - {"tltool"}


def link_distribution(name, site):
    """Make a distribution of this environment importable from another one, without a copy."""
    for file in distribution(name).files or []:
        top = file.parts[0]
        target = Path(distribution(name).locate_file(top))
        if top not in {"..", "__pycache__"} and not (site / top).exists() and target.exists():
            (site / top).symlink_to(target)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(CHECKOUT), "--no-deps"]
    command += ["--no-build-isolation", "--quiet", "--wheel-dir", str(folder)]
    subprocess.run(command, check=True, cwd=folder)
    return next(folder.glob("tltool-*.whl"))


def environment(folder, wheel, extra=""):
    """Create an environment with the wheel and with what it asks for; return its Python."""
    venv.create(folder, with_pip=False)
    site = next((folder / "lib").glob("python*")) / "site-packages"
    packed = zipfile.Path(wheel, f"{'-'.join(wheel.stem.split('-')[:2])}.dist-info/")
    for name in required(PathDistribution(packed), [extra] if extra else [], set()):
        link_distribution(name, site)
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet"]
    subprocess.run([*install, "--target", str(site), str(wheel)], check=True)
    return folder / "bin" / "python"


def run(python, *arguments, cwd):
    settings = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [python, *arguments], cwd=cwd, env=settings, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory, wheel):
    """The Python of an environment without extras."""
    return environment(tmp_path_factory.mktemp("plain"), wheel)


def test_the_wheel_fits_outside_the_checkout(plain, images, tmp_path):
    small = ["--model.backbone", "test_resnet", "--model.backbone.weights", "random"]
    small += ["--model.backbone.img_size", "32", "--trainer.max_epochs", "1"]
    small += ["--data.batch_size", "8"]
    result = run(plain, "-m", "tltool", "fit", "--data.root", str(images), *small, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert list(tmp_path.glob("runs/*/0/checkpoints/best.ckpt"))


def test_the_wheel_is_what_runs(plain, tmp_path):
    result = run(plain, "-c", "import tltool; print(tltool.__file__)", cwd=tmp_path)
    assert str(CHECKOUT) not in result.stdout
    assert result.returncode == 0, result.stderr


def test_the_wheel_holds_every_file_of_the_package_and_no_test(wheel):
    listed = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    packed = set(re.findall(r"^(tltool/\S+)", listed, re.MULTILINE))
    tracked = subprocess.run(
        ["git", "ls-files", "tltool"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert packed == set(tracked)


@pytest.mark.parametrize(
    ("extra", "command"),
    [
        ("quickstart", "from tltool import ELPVDataModule; print(ELPVDataModule().summary())"),
        ("digits", "from tltool import DigitsDataModule; print(DigitsDataModule().summary())"),
        (
            "parquet",
            "import pathlib; from tltool.data.files.table_files import read_table; "
            "read_table(pathlib.Path('t.parquet'))",
        ),
        ("heic", "from tltool.data.files.decoding import decode_image; decode_image('i.heic')"),
    ],
)
def test_an_extra_brings_what_is_missing_without_it(tmp_path, plain, wheel, extra, command):
    import pillow_heif
    import pyarrow
    import pyarrow.parquet
    from PIL import Image

    pyarrow.parquet.write_table(pyarrow.table({"path": ["a"]}), tmp_path / "t.parquet")
    pillow_heif.from_pillow(Image.new("RGB", (32, 32))).save(tmp_path / "i.heic")
    without = run(plain, "-c", command, cwd=tmp_path)
    assert without.returncode != 0
    assert f"tltool[{extra}]" in without.stderr
    with_extra = environment(tmp_path / "environment", wheel, extra)
    result = run(with_extra, "-c", command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
