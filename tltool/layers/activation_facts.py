"""Facts about each activation: formula, origin, weakness, paper, from ``activation_facts.toml``."""

import tomllib
from importlib import resources
from typing import NamedTuple


class Facts(NamedTuple):
    """What a table of activations says of one of them."""

    formula: str
    problem: str
    verdict: str
    origin: str
    weakness: str
    paper: str
    url: str
    learned: str = "none"
    """What it learns besides the linear layer in front."""


_file = resources.files(__package__) / "activation_facts.toml"
_table = tomllib.loads(_file.read_text(encoding="utf-8"))

#: What is told about each activation, by its name in ``ACTIVATIONS`` and in the same order.
ACTIVATION_FACTS = {name: Facts(**facts) for name, facts in _table["activations"].items()}

#: The lecture's advice in one breath.
ADVICE: str = _table["advice"]
