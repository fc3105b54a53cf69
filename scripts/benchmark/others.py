"""Are freezing, unfreezing and resuming right? tltool beside Lightning and finetuning-scheduler.

Each tool fine-tunes the same small ResNet (timm's `test_resnet`, random weights, batch norms
calibrated on other images) on the CPU, as its documentation says: the head for an epoch, then all.
Measured are three faults, and for each the options of a tool that might cure it:

- two ranks: parameters that differ between two gloo processes after 4 epochs with the backbone;
- resume: parameters after 5 epochs against a run resumed from its checkpoint after epoch 3, and
  how many convolutions of the backbone, unfrozen before, still train in it;
- frozen: how many of the backbone's parameters and buffers change in 20 steps in which it is frozen
  (each batch norm counts batches, too), by what share of their length its features in evaluation
  move, and how far those that the head is trained on are from those in evaluation.

What is not measured is "-": one device knows no strategy. A tool that ends with an error "refuses".
finetuning-scheduler gets an environment of its own, which pip fills (about 6 GB); the
others run in the current one. Results are kept in runs/benchmark/others.jsonl, and a later call
goes on there.

Run: python scripts/benchmark/others.py
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from environments import interpreter
from others_job import ROWS
from results import FOLDER, Row, kept

JOB = Path(__file__).with_name("others_job.py")
PACKAGES = ["finetuning-scheduler", "timm"]
FAULTS = {
    "ranks": "{differing} of {parameters}, {largest:.1g}",
    "resume": "{largest:.1g}, {training} of {parameters}",
    "frozen": "{changed} of {tensors}, {moved:.1%}, {training_against_evaluation:.1%}",
}
LIGHTNING = "https://github.com/Lightning-AI/pytorch-lightning/issues"
UPSTREAM = {
    "ranks": f"{LIGHTNING}/20340",
    "resume": f"{LIGHTNING}/21901",
    "frozen": ", ".join(f"{LIGHTNING}/{number}" for number in (13902, 15062, 20629, 21531)),
}


class RefusedError(Exception):
    """A tool ended with an error."""


def main() -> None:
    """Print a table row for each tool and option."""
    print(
        "| tool | two ranks: differing parameters, largest difference | resume: largest "
        "difference, convolutions that train | frozen: tensors that change, features move, "
        "training against evaluation |"
    )
    print("|---|---|---|---|")
    for name in ROWS:
        print(f"| {name} | {' | '.join(cell(name, fault) for fault in FAULTS)} |", flush=True)
    print("| upstream | " + " | ".join(UPSTREAM[fault] for fault in FAULTS) + " |")
    print("\nVersions:", "; ".join(dict.fromkeys(versions(name) for name in ROWS)) + ".")


def cell(name: str, fault: str) -> str:
    """Return a table cell, from what is kept or from a new measurement."""
    if fault not in ROWS[name].faults:
        return "-"
    key = {"row": name, "fault": fault}
    try:
        result = kept(FOLDER / "others.jsonl", key, partial(measure, name, fault))
    except RefusedError as error:
        return f"refuses: {error}"
    return FAULTS[fault].format(**result)


def versions(name: str) -> str:
    """Return the versions that a row was measured with."""
    key = {"row": name, "fault": "ranks"}
    result = kept(FOLDER / "others.jsonl", key, partial(measure, name, "ranks"))
    return ", ".join(f"{package} {number}" for package, number in result["versions"].items())


def measure(name: str, fault: str) -> Row:
    """Run the job, on two ranks where the fault needs them, and return the last one's result.

    Raises:
        RefusedError: If the job fails; with the last line that it wrote.
    """
    python = interpreter(*PACKAGES) if ROWS[name].package == PACKAGES[0] else sys.executable
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    variables = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as started:
        processes = [
            started.enter_context(
                subprocess.Popen(
                    [python, JOB, name, fault, folder],
                    env=variables | {"LOCAL_RANK": str(rank)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for rank in range(2 if fault == "ranks" else 1)
        ]
        outputs = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        if process.returncode:
            print(errors, file=sys.stderr)
            raise RefusedError(errors.splitlines()[-1])
    result: Row = json.loads(outputs[-1][0].splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
