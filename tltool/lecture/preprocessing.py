"""Zero-center and normalize the data."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from tltool.evaluation.paired_differences import Difference, estimate_mean
from tltool.evaluation.paired_differences import judge as judge_differences
from tltool.layers.fitted_norms import Center, FittedNorm, Standardize, Whiten
from tltool.lecture.experiment import Experiment, Finding, Verdict
from tltool.lecture.pictures import COLORS, MARKERS, draw_legend, draw_series, new_figure
from tltool.lecture.problem import Problem
from tltool.lecture.training import Trial, epochs_to, frequency_loss, train_trials
from tltool.lecture.wrong_preprocessing import OWN, Probed, check_packages, probe_solar_cells

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SGD = {"name": "SGD", "momentum": 0.0}
NORMS: dict[str, type[FittedNorm]] = {
    "centered": Center,
    "standardized": Standardize,
    "whitened": Whiten,
}
RAW, PIXELS = "as given", "0 to 255"


class Learned(NamedTuple):
    """What a network learned from features of one preprocessing.

    Attributes:
        rate: The learning rate that reaches the target first.
        epochs: After how many epochs each seed does, ``inf`` for never.
        losses: Training losses of each epoch at this rate, ``(S, E)``.
        correct: Whether each test row is right, ``(S, N)``, at the rate with the least loss on the
            rows that choose.
    """

    rate: float
    epochs: list[float]
    losses: list[list[float]]
    correct: Tensor


@dataclass(frozen=True)
class Preprocessing(Experiment):
    """Time to a training loss and test accuracy by preprocessing; a backbone given a wrong one.

    One network learns from the features as they are, centered, standardized and whitened, fitted
    on the training rows; features in 0..1 are also scaled to 0..255, as pixels come. Each takes
    its own learning rate of plain SGD, of one grid. The backbone's part has photos of solar cells
    of its own, whatever else is given, and needs no training.

    Args:
        hidden_features: Width of each hidden layer.
        rates: Learning rates to choose from, rising.
        share: The training loss to reach, as a share of that of knowing only how frequent the
            classes are, in ``(0, 1)``.
        epochs: Length of a training.
        seeds: Number of seeds.
        train_photos: Solar cells that the backbone's probe is fitted on.
        test_photos: Solar cells that it reports on.
        img_size: Height and width of what the backbone sees, in pixels.

    Raises:
        ValueError: If a value is out of its range.
    """

    title = "Preprocessing"
    claim = (
        "Zero-center and normalize the data, the same way wherever the network is used; whitening "
        "is not common for images."
    )
    source = "CS231n; LeCun et al., 1998, section 4.3, https://doi.org/10.1007/3-540-49430-8_2"

    hidden_features: Sequence[int] = (64,)
    rates: Sequence[float] = tuple(float(f"{10 ** (power / 2):.1g}") for power in range(-10, 2))
    share: float = 0.1
    epochs: int = 15
    seeds: int = 3
    train_photos: int = 400
    test_photos: int = 200
    img_size: int = 160

    def __post_init__(self) -> None:
        if not self.rates or list(self.rates) != sorted(self.rates):
            raise ValueError(f"`rates` must be rising, got {list(self.rates)}.")
        if not 0 < self.share < 1:
            raise ValueError(f"`share` must be in (0, 1), got {self.share}.")
        for name in ("epochs", "seeds", "train_photos", "test_photos"):
            least = 2 if name.endswith("photos") else 1
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, got {getattr(self, name)}.")

    def check(self) -> None:
        """See `Experiment`."""
        check_packages(self.name())

    def run(self, problem: Problem) -> Finding:
        """See `Experiment`."""
        self.check()
        probed = probe_solar_cells(self.train_photos, self.test_photos, img_size=self.img_size)
        return self.conclude(problem, probed)

    def conclude(self, problem: Problem, probed: Probed) -> Finding:
        """Run the networks on features and judge, with the backbone's part given."""
        target = self.share * frequency_loss(problem.train[1])
        learned = {
            name: self.learn(problem.with_features(features), target)
            for name, features in preprocessed(problem).items()
        }
        return Finding(
            *judge(learned, probed, target),
            self._draw(learned, probed, target),
            _rows(learned, probed),
        )

    def learn(self, problem: Problem, target: float) -> Learned:
        """Return what the network learned, at the rates that suit it.

        Args:
            problem: The data, preprocessed.
            target: The training loss to reach.
        """
        head = {"hidden_features": list(self.hidden_features)}
        recipe = Recipe(epochs=self.epochs, warmup=0.0, decay="none")
        trials = [Trial(head, seed, rate) for rate in self.rates for seed in range(self.seeds)]
        found = iter(train_trials(problem, trials, recipe=recipe, optimizer=SGD))
        runs = {rate: [next(found) for _ in range(self.seeds)] for rate in self.rates}

        def time(each: Sequence[Trained]) -> float:
            return sum(_time(run.train_losses, target) for run in each)

        def loss(each: Sequence[Trained]) -> float:
            return sum(_least((run.val_losses or run.train_losses)[-1], 1e9) for run in each)

        rate = min(self.rates, key=lambda rate: time(runs[rate]))
        return Learned(
            rate,
            [epochs_to(target, run.train_losses) for run in runs[rate]],
            [run.train_losses for run in runs[rate]],
            torch.stack([run.correct for run in min(runs.values(), key=loss)]),
        )

    def _draw(self, learned: Mapping[str, Learned], probed: Probed, target: float) -> Any:
        figure, (left, middle, right) = new_figure(3)
        for number, (name, each) in enumerate(learned.items()):
            losses = [[_least(loss, 1e3) for loss in seed] for seed in each.losses]
            epochs = range(1, self.epochs + 1)
            draw_series(left, epochs, losses, label=name, number=number, markers=False)
        left.axhline(target, color="0.5", linewidth=0.8, linestyle="dotted")
        left.set(yscale="log", xlabel="epochs", ylabel="training loss (dotted: to reach)")
        _draw_accuracies(middle, {name: each.correct for name, each in learned.items()}, COLORS)
        middle.set_xlabel("test accuracy\n(95 % interval)")
        black = ("0.1",) * len(probed.correct)  # These are not the series of the legend.
        _draw_accuracies(right, probed.correct, black, probed.groups)
        right.axvline(probed.chance, color="0.5", linewidth=0.8)
        right.set_xlabel("accuracy on solar cells\n(gray: by chance)")
        right.set_ylabel("pixels given to the backbone")
        draw_legend(figure, left, columns=5)
        return figure


def preprocessed(problem: Problem) -> dict[str, Tensor]:
    """Return the features under each preprocessing by its name, fitted on the training rows."""
    features = problem.features
    found = {RAW: features}
    if features.min() >= 0 and features.max() <= 1:
        found[PIXELS] = 255 * features
    with torch.no_grad():
        for name, norm in NORMS.items():
            found[name] = norm(problem.num_features).fit_(problem.train[0])(features)
    return found


def judge(
    learned: Mapping[str, Learned], probed: Probed, target: float
) -> tuple[Verdict, str, str]:
    """Return verdict, number and text.

    The parts of the claim: standardized features reach the loss earlier than raw ones of any scale,
    beyond the range over seeds; whitening them is not more accurate beyond noise; a wrong mean and
    standard deviation cost a pretrained backbone accuracy beyond noise. All: it holds. Neither the
    first nor the last: it does not, or cannot be told if no features reach the loss.

    Args:
        learned: By preprocessing.
        probed: The backbone's part.
        target: The training loss to reach.
    """
    raw = [name for name in (RAW, PIXELS) if name in learned]
    normed = learned["standardized"]
    is_faster = all(max(normed.epochs) < min(learned[name].epochs) for name in raw)
    others = judge_differences(
        {name: each.correct for name, each in learned.items()}, "standardized"
    )
    is_better = any(
        each.name == "whitened" and each.is_finding and each.estimate.mean > 0 for each in others
    )
    wrong = judge_differences(probed.correct, OWN, probed.groups)
    costs = [each for each in wrong if each.is_finding and each.estimate.mean < 0]
    is_reached = any(
        math.isfinite(e) for name in ("standardized", *raw) for e in learned[name].epochs
    )
    if not is_reached and not costs:
        verdict: Verdict = "cannot be told here"
    elif is_faster and costs and not is_better:
        verdict = "holds"
    else:
        verdict = "holds in part" if is_faster or costs else "does not hold here"
    times = ", ".join(f"{name} {_told(each.epochs)}" for name, each in learned.items())
    own = float(probed.correct[OWN].double().mean())
    number = (
        f"epochs to a training loss of {target:.2g}: {times}; accuracy of a backbone with its own "
        f"preprocessing {own:.3f}, " + ", ".join(f"{each.name} {_pm(each)}" for each in wrong)
    )
    speed = "faster" if is_faster else "no faster"
    text = (
        f"Each at its best rate, standardized features learn {speed} than raw ones beyond the "
        f"range over seeds; the rate {normed.rate:g} suits them, "
        + ", ".join(f"{learned[name].rate:g} those {name}" for name in raw)
        + ". Test accuracy against standardized: "
        + ", ".join(f"{each.name} {_pm(each)}" for each in others)
        + ". With pixels of another scale than its own the pretrained backbone "
        + (
            f"loses accuracy beyond noise ({', '.join(each.name for each in costs)})"
            if costs
            else "loses nothing that can be told from noise on these photos"
        )
        + ". tltool takes mean and standard deviation from the weights; for a head on features set "
        "`input_norm: standardize`."
    )
    return verdict, number, text


def _time(losses: Sequence[float], target: float) -> float:
    """Return the epochs to a loss; where it is never reached, more the higher it stays."""
    epochs = epochs_to(target, losses)
    return epochs if math.isfinite(epochs) else len(losses) + 1e3 + _least(losses[-1], 1e6)


def _least(loss: float, highest: float) -> float:
    return min(loss, highest) if math.isfinite(loss) else highest


def _told(epochs: Sequence[float]) -> str:
    mean = statistics.fmean(epochs)
    return f"{mean:.1f}" if math.isfinite(mean) else "never (in some seed)"


def _pm(difference: Difference) -> str:
    estimate = difference.estimate
    half = (estimate.interval[1] - estimate.interval[0]) / 2
    noise = "" if difference.is_finding else " (within noise)"
    return f"{estimate.mean:+.3f} +- {half:.3f}{noise}"


def _draw_accuracies(
    axes: "Axes",
    correct: Mapping[str, Tensor],
    colors: Sequence[str],
    groups: Sequence[int] | None = None,
) -> None:
    """Draw each accuracy as a point with its 95 % interval, the first on top."""
    for number, scores in enumerate(correct.values()):
        estimate = estimate_mean(scores, groups)
        ends = [min(max(end, 0.0), 1.0) for end in estimate.interval]
        axes.plot(ends, [number, number], color=colors[number], linewidth=1.4)
        axes.plot(estimate.mean, number, MARKERS[number], color=colors[number], markersize=5)
    axes.set_yticks(range(len(correct)), list(correct), fontsize=8)
    axes.set_ylim(len(correct) - 0.5, -0.5)


def _rows(learned: Mapping[str, Learned], probed: Probed) -> list[dict[str, Any]]:
    rows = []
    for name, each in learned.items():
        for seed, epochs in enumerate(each.epochs):
            accuracy = float(each.correct[seed].double().mean())
            rows.append(_row("features", name, seed, each.rate, epochs, accuracy))
    for name, correct in probed.correct.items():
        rows.append(_row("photos", name, 0, None, None, float(correct.double().mean())))
    return rows


def _row(*values: Any) -> dict[str, Any]:
    names = ("data", "preprocessing", "seed", "fastest_rate", "epochs_to_loss", "test_accuracy")
    return dict(zip(names, values, strict=True))
