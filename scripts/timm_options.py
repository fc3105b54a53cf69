"""Try every option of a backbone on every model of timm, after an update of timm.

Each is taken, with an effect, or refused in one line; anything else ends in a traceback. What is in
the table is not tried again, so the script goes on where it stopped. Takes an hour for all.

Run: python scripts/timm_options.py FILE.csv [NAME ...]
"""

import csv
import sys
from pathlib import Path

import timm
import torch

from tltool.models.backbone import Backbone

RATE = 0.37


def options_to_try(name: str) -> dict[str, object]:
    """Return a value for each option that a model may lack."""
    size = timm.models.get_pretrained_cfg(name)
    own = size.input_size[-1] if size is not None else 224
    options = {"img_size": 2 * own, "in_chans": 4, "drop_rate": RATE, "drop_path_rate": RATE}
    return options | {"grad_checkpointing": True}


def verdict(name: str, option: str, value: object) -> str:
    """Return ``taken``, or why a model refuses an option."""
    try:
        with torch.device("meta"):
            Backbone(name, "random", **{option: value})
    except ValueError as error:
        return str(error)
    return "taken"


def main() -> None:
    """Write a row for each model and option."""
    path = Path(sys.argv[1])
    known = set()
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            known = {row[0] for row in csv.reader(file)}
    with path.open("a", encoding="utf-8", newline="") as file:
        for name in sys.argv[2:] or timm.list_models():
            if name in known:
                continue
            rows = [(name, o, verdict(name, o, value)) for o, value in options_to_try(name).items()]
            csv.writer(file).writerows(rows)
            file.flush()
            print(name, *(f"{option}: {said[:60]}" for _, option, said in rows), sep="\n  ")


if __name__ == "__main__":
    main()
