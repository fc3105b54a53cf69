"""Every option that a message, a help or a README names is one that a parser has."""

import ast
import inspect
import re
from pathlib import Path

import pytest
import torch

import tltool
from tltool.__main__ import COMMANDS
from tltool.cli import compare, features, features_compute, features_neighbors
from tltool.cli.option_names import own_options, section_keys
from tltool.cli.sections import experiment_parser
from tltool.finetuning.strategies import STRATEGIES
from tltool.models.backbone import Backbone

ROOT = Path(tltool.__file__).parent
#: Not where a name stands for several, or is filled in: with a dash it is of another program.
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*)(?![\w-]|\.\.|\.?[A-Z\0])")
#: Of pip, torchrun, sbatch and wandb.
FOREIGN = {
    "gpu",
    "upgrade",
    "nnodes",
    "nproc_per_node",
    "standalone",
    "signal",
    "relogin",
    "update",
}
#: Of the head of one's own that READMEs show.
OWN = {"model.head.scale"}
#: Wrong ones, in examples of what is answered to them.
WRONG = {"root", "much", "outptu", "trainer.device", "epochs", "stratgy", "strategy", "lr"}


def keywords(*functions):
    return {name for function in functions for name in inspect.signature(function).parameters}


@pytest.fixture(scope="module")
def known():
    """The options of all commands, and the arguments of the classes that a section may name."""
    found = set(experiment_parser("fit").option_names())
    for command in COMMANDS:
        found |= own_options(command) if (ROOT / "cli" / f"{command}.py").is_file() else set()
    found |= {f"axes.{name}" for name in keywords(compare.Axes)}
    found |= keywords(features.list_features, features.prune, features.pack)
    found |= keywords(features_compute.compute, features_compute.verify)
    found |= keywords(features_neighbors.neighbors)
    found |= {f"data.{name}" for name in section_keys("data")}
    found |= {f"finetuning.{name}" for name in keywords(*STRATEGIES)}
    found |= {f"model.backbone.{name}" for name in keywords(Backbone)}
    found |= {f"optimizer.{name}" for name in keywords(torch.optim.AdamW, torch.optim.SGD)}
    return found | {"help", "help_all", "help_section", "version", "print_config", "modules"}


def texts(path):
    """Yield the texts of a file; what is filled into one is a null byte."""
    source = path.read_text("utf-8")
    if path.suffix != ".py":
        yield from (line for line in source.splitlines() if "python scripts" not in line)
        return
    for node in ast.walk(ast.parse(source)) if "--" in source else ():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(map(constant, node.values))


def constant(part):
    return part.value if isinstance(part, ast.Constant) else "\0"


def named(path):
    return {name for text in texts(path) for name in OPTION.findall(text)}


@pytest.mark.parametrize("kind", ["*.py", "*.toml", "*.txt", "README.md"])
def test_every_option_that_is_named_is_one(known, kind):
    open_ended = ("trainer.callbacks.", "trainer.logger.", "trainer.strategy.")
    unknown = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in ROOT.rglob(kind)
        for name in named(path) - known - FOREIGN - OWN - WRONG
        if not name.startswith(open_ended)
    }
    assert unknown == set()
