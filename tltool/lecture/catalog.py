"""All experiments, in the lecture's order."""

from tltool.lecture.batch_norm import BatchNormRange
from tltool.lecture.claim import Claim
from tltool.lecture.converges_faster import ConvergesFaster
from tltool.lecture.dead_relu import DeadReLU
from tltool.lecture.elu_noise import ELUNoise
from tltool.lecture.exp_cost import ExpCost
from tltool.lecture.initialization import Initialization
from tltool.lecture.maxout_parameters import MaxoutParameters
from tltool.lecture.mini_batch import MiniBatch
from tltool.lecture.preprocessing import Preprocessing
from tltool.lecture.saturation import Saturation
from tltool.lecture.selu_without_norm import SELUWithoutNorm
from tltool.lecture.swish_deep import SwishDeep
from tltool.lecture.transfer import Transfer
from tltool.lecture.zero_centered import ZeroCentered

EXPERIMENTS: tuple[type[Claim], ...] = (
    Saturation,
    ZeroCentered,
    ExpCost,
    ConvergesFaster,
    DeadReLU,
    ELUNoise,
    SELUWithoutNorm,
    MaxoutParameters,
    SwishDeep,
    Preprocessing,
    Initialization,
    BatchNormRange,
    MiniBatch,
    Transfer,
)
"""In the order of the page."""


def experiments_about(activation: str) -> list[type[Claim]]:
    """Return the experiments that show a weakness or a strength of an activation.

    Example:
        >>> [experiment.name() for experiment in experiments_about("maxout")]
        ['MaxoutParameters']
    """
    return [experiment for experiment in EXPERIMENTS if activation in experiment.shows]
