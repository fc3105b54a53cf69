"""Facts about each activation: formula, origin, weakness, paper; from ``activations.toml``."""

from typing import NamedTuple

from tltool.layers.activations import TABLE


class Facts(NamedTuple):
    """What a table of activations says of one of them."""

    formula: str
    problem: str
    verdict: str
    origin: str
    weakness: str
    paper: str
    url: str
    #: What it learns besides the linear layer in front.
    learned: str = "none"


#: What is told about each activation, by its name in ``ACTIVATIONS`` and in the same order.
ACTIVATION_FACTS = {
    name: Facts(**{field: row[field] for field in Facts._fields if field in row})
    for name, row in TABLE["activations"].items()
}

#: The lecture's advice in one breath.
ADVICE: str = TABLE["advice"]
