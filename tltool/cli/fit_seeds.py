"""`tltool fit --seeds N`: the same run with several seeds, and how far the results spread."""

import os
from collections.abc import Callable, Sequence
from statistics import mean, stdev
from typing import NamedTuple

from jsonargparse import Namespace

from tltool.cli.run_start import AUTO
from tltool.cli.trainer_section import world_size
from tltool.inference.run_gain import RunGain


class SeedRuns(NamedTuple):
    """What is asked of seeds.

    Attributes:
        number: How many there are.
        first: The first; the others follow it.
        run_dir: The directory of the first run, where it was named.
    """

    number: int
    first: int
    run_dir: str | None

    def options(self, seed: int) -> list[str]:
        """Return the options of the run with a seed that is not the first.

        Example:
            >>> SeedRuns(2, 0, "runs/mine").options(1)
            ['--seed_everything', '1', '--run_dir', 'runs/mine_seed1']
        """
        place = [] if self.run_dir is None else ["--run_dir", f"{self.run_dir}_seed{seed}"]
        return ["--seed_everything", str(seed), *place]


def check_seeds(config: Namespace) -> SeedRuns:
    """Return what a configuration asks of seeds, or refuse what cannot be trained.

    Raises:
        ValueError: If it is none, there is no first seed, there are several processes, or there is
            one checkpoint for all.
    """
    number, first = config.get("seeds", 1), config.seed_everything
    if number < 1:
        raise ValueError(f"--seeds is a number of trainings, at least 1, got {number}.")
    if number > 1 and type(first) is not int:
        raise ValueError(
            "--seeds counts from --seed_everything on. Set that to a number, such as 0."
        )
    if number > 1 and world_size(config.trainer) > 1:
        raise ValueError(
            "--seeds trains one seed after another on one device. On several, start a run for each "
            "seed with --seed_everything, as scripts/slurm/array.sbatch does."
        )
    if number > 1 and config.ckpt_path not in (None, AUTO):
        raise ValueError(
            f"--seeds trains each seed from its own start, and {config.ckpt_path} is of one run. "
            "Leave out --ckpt_path, for each seed resumes its own run where --run_dir names the "
            "first; or leave out --seeds."
        )
    place = None if config.run_dir is None else str(config.run_dir)
    return SeedRuns(number, first, place)


def without_seeds(words: Sequence[str]) -> list[str]:
    """Return a command line without ``--seeds``.

    Example:
        >>> without_seeds(["images", "--seeds", "3", "--budget", "1m"])
        ['images', '--budget', '1m']
        >>> without_seeds(["images", "--seeds=3"])
        ['images']
    """
    kept, left = list[str](), iter(words)
    for word in left:
        if word == "--seeds":
            next(left, None)
        elif not word.startswith("--seeds="):
            kept.append(word)
    return kept


def train_seeds(
    asked: SeedRuns,
    first: RunGain | None,
    train: Callable[[Sequence[str]], RunGain | None],
) -> None:
    """Train with the other seeds, and print the results with their mean and standard deviation.

    Args:
        asked: Which seeds.
        first: What the first has gained; ``None`` where it was not measured.
        train: Trains with some options more.
    """
    os.environ.pop("WANDB_RUN_ID", None)  # A sweep's agent gives it to one W&B run, the first.
    gains = {asked.first: first}
    for seed in range(asked.first + 1, asked.first + asked.number):
        print(f"\nseed      {seed}")
        gains[seed] = train(asked.options(seed))
    known = {seed: gain for seed, gain in gains.items() if gain is not None}
    print(spread(known, asked.number))


def spread(gains: dict[int, RunGain], number: int) -> str:
    """Return the lines that say how far the results of seeds spread.

    Args:
        gains: What each seed has gained.
        number: How many there were; of a run that was over before, or without a probe, the result
            was not measured.
    """
    left = f" ({number - len(gains)} of {number} not measured)" if len(gains) < number else ""
    if not gains:
        return f"\nseeds     none was measured{left}"
    found = list(gains.values())
    score = found[0].predictions.score
    rows = {
        "probe": [each.probe.score.value for each in found],
        "this run": [each.score.value for each in found],
        "gain": [each.difference.estimate.mean for each in found],
    }
    lines = [f"\nseeds     {', '.join(map(str, gains))}{left}: mean +- standard deviation"]
    for name, values in rows.items():
        sign = "+" if name == "gain" else ""
        deviation = f" +- {score.words(stdev(values))}" if len(values) > 1 else ""
        each = ", ".join(score.words(value, sign) for value in values)
        lines.append(f"{name:<10}{score.words(mean(values), sign)}{deviation}  ({each})")
    return "\n".join(lines)
