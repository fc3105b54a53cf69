"""Every README: short where it must be, and what it tells to type works."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import timm
import yaml
from PIL import Image
from timm.models._hub import save_for_hf

CHECKOUT = Path(__file__).parent.parent
LANGUAGE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|#)([^)#]+)")


def readmes():
    listed = subprocess.run(
        ["git", "ls-files", "README.md", "*/README.md"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.split()


def blocks(readme, language):
    text = (CHECKOUT / readme).read_text(encoding="utf-8")
    return [code for name, code in LANGUAGE.findall(text) if name == language]


def commands():
    """Return the commands of each README, in their order: some read what others wrote."""
    found = []
    for readme in readmes():
        text = "\n".join(blocks(readme, "bash")).replace("\\\n", " ")
        lines = [line.split(" #")[0].strip() for line in text.splitlines()]
        found += [(readme, line) for line in lines if line.startswith("tltool ")]
    return found


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    """Return a function: the working directory of a reader of one README, with images in it."""
    made = {}

    def desk(readme):
        if readme not in made:
            made[readme] = make_desk(tmp_path_factory.mktemp("desk"))
        return made[readme]

    return desk


def make_desk(folder):
    rows = ["path,label,group"]
    for place in ("images/ants", "images/bees", "new_images"):
        (folder / place).mkdir(parents=True)
        for index in range(24):
            image = Image.effect_noise((64, 64), 20 + 60 * place.endswith("bees")).convert("RGB")
            image.save(folder / place / f"{index}.jpg")
            if place != "new_images":
                rows.append(f"{place}/{index}.jpg,{Path(place).name},{index // 4}")
    (folder / "images.csv").write_text("\n".join(rows))
    (folder / "configs").symlink_to(CHECKOUT / "configs")
    save_for_hf(timm.create_model("test_resnet"), folder / "my_network")
    labels = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(2)})
    paths = sorted(map(str, (folder / "images").glob("*/*.jpg")))
    table = {"image": paths, "label": [number // 24 for number in range(48)]}
    datasets.Dataset.from_dict(table, labels).save_to_disk(folder / "flowers")
    return folder


def run(command, folder):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_readme_has_at_most_150_lines():
    assert len((CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("readme", readmes())
def test_what_a_readme_links_to_is_there(readme):
    folder = (CHECKOUT / readme).parent
    links = LINK.findall((CHECKOUT / readme).read_text(encoding="utf-8"))
    assert not [link for link in links if not (folder / link).exists()]


def test_the_pictures_of_the_readmes_are_small():
    pictures = [*(CHECKOUT / ".github" / "images").iterdir()]
    assert pictures
    assert all(picture.stat().st_size < 200_000 for picture in pictures)


@pytest.mark.slow
@pytest.mark.parametrize(("readme", "command"), commands())
def test_every_command_of_a_readme_runs(desks, readme, command):
    run(["-m", *shlex.split(command)], desks(readme))


@pytest.mark.slow
@pytest.mark.parametrize("readme", readmes())
def test_every_yaml_of_a_readme_runs(desks, readme):
    for number, block in enumerate(blocks(readme, "yaml")):
        assert yaml.safe_load(block)
        (desks(readme) / f"{number}.yaml").write_text(block)
        run(["-m", "tltool", "fit", "--config", f"{number}.yaml"], desks(readme))


@pytest.mark.slow
@pytest.mark.parametrize("readme", readmes())
def test_the_python_of_a_readme_runs(desks, readme):
    for number, block in enumerate(blocks(readme, "python")):
        (desks(readme) / f"block_{number}.py").write_text(block)
        run([f"block_{number}.py"], desks(readme))
