"""The README is short, and what it tells to type works."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

README = Path(__file__).parent.parent / "README.md"
LANGUAGE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(language):
    text = README.read_text(encoding="utf-8")
    return [code for name, code in LANGUAGE.findall(text) if name == language]


def commands():
    lines = [line.split(" #")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith("tltool ")]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with `photos` and `new_photos`, as a reader of the README has one."""
    folder = tmp_path_factory.mktemp("desk")
    for place in ("photos/ants", "photos/bees", "new_photos"):
        (folder / place).mkdir(parents=True)
        for index in range(24):
            image = Image.effect_noise((64, 64), 20 + 60 * place.endswith("bees")).convert("RGB")
            image.save(folder / place / f"{index}.jpg")
    return folder


def run(command, folder):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_readme_has_at_most_460_lines():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 460


def test_the_pictures_of_the_readme_are_there_and_small():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README.read_text(encoding="utf-8"))
    assert pictures
    assert all((README.parent / picture).stat().st_size < 200_000 for picture in pictures)


@pytest.mark.slow
@pytest.mark.parametrize("command", commands())  # In their order: some read what others wrote.
def test_every_command_of_the_readme_runs(desk, command):
    run(shlex.split(command), desk)


@pytest.mark.slow
def test_every_yaml_of_the_readme_runs(desk):
    for number, block in enumerate(blocks("yaml")):
        assert yaml.safe_load(block)
        (desk / f"{number}.yaml").write_text(block)
        run(["tltool", "fit", "--config", f"{number}.yaml"], desk)


@pytest.mark.slow
def test_the_python_of_the_readme_runs(desk):
    for number, block in enumerate(blocks("python")):
        (desk / f"block_{number}.py").write_text(block)
        run([f"block_{number}"], desk)
