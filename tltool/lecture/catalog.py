"""All experiments, in the lecture's order."""

from tltool.lecture.batch_norm import BatchNormRange
from tltool.lecture.experiment import Experiment
from tltool.lecture.mini_batch import MiniBatch
from tltool.lecture.preprocessing import Preprocessing
from tltool.lecture.saturation import Saturation
from tltool.lecture.transfer import Transfer

EXPERIMENTS: tuple[type[Experiment], ...] = (
    Saturation,
    Preprocessing,
    BatchNormRange,
    MiniBatch,
    Transfer,
)
"""In the order of the page."""


def experiments_about(activation: str) -> list[type[Experiment]]:
    """Return the experiments that show a weakness or a strength of an activation.

    Example:
        >>> [experiment.name() for experiment in experiments_about("sigmoid")]
        ['Saturation']
    """
    return [experiment for experiment in EXPERIMENTS if activation in experiment.shows]
