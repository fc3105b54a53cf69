"""Risk over coverage: how often the surer predictions are wrong."""

from matplotlib.figure import Figure

from tltool.evaluation.rejection import RejectionCurve
from tltool.reporting.figures.axes import draw_legend, new_figure
from tltool.reporting.figures.palette import BLUE


def draw_risk_coverage(curve: RejectionCurve) -> Figure:
    """Draw the share of wrong predictions among those that are not rejected.

    Geifman & El-Yaniv, 2017, https://arxiv.org/abs/1705.08500, figure 1.
    """
    figure, (axes,) = new_figure(width=4.8, height=3.9)
    words = "least sure rejected first"
    axes.plot(curve.coverage, curve.risk, color=BLUE, drawstyle="steps-post", label=words)
    whole = curve.risk[-1]
    axes.axhline(whole, color="0.5", linestyle="dashed", label="rejected at random")
    axes.set(xlabel="coverage: share that is not rejected", ylabel="risk: share that is wrong")
    axes.set(xlim=(0, 1.02), ylim=(0, None))
    draw_legend(figure, axes, columns=2)
    return figure
