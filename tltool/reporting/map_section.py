"""Section of a report: the map of the features of the images that measure a run."""

from collections.abc import Sequence

from tltool.evaluation.feature_map import FeatureMap
from tltool.evaluation.measured_split import MeasuredSplit
from tltool.evaluation.predictions import PredictionSet
from tltool.evaluation.regression import RegressionPredictions
from tltool.reporting.figures.feature_map import draw_feature_map
from tltool.reporting.html.images import picture
from tltool.reporting.report import Section


def map_section(found: MeasuredSplit, mapped: FeatureMap) -> Section:
    """Return where images lie by their features, colored by class or value, errors marked."""
    figure = draw_feature_map(mapped.points, _groups(found, mapped), _right(found, mapped))
    some = "" if len(mapped.indices) == len(found.paths) else f"{len(mapped.indices):,} of "
    words = (
        f"A point for each image ({some}{len(found.paths):,} {found.split}) where its features lie "
        "in the plane in which they differ most; a cross where the prediction is wrong."
    )
    note = (
        f"The two principal components have {mapped.explained:.0%} of the variance: what lies "
        "together here may lie apart in the other directions. Classes that are mixed in each of "
        "them are not told apart by the features."
    )
    return Section("Map of the features", pictures=[picture(figure, words)], note=note)


def _groups(found: MeasuredSplit, mapped: FeatureMap) -> Sequence[str] | Sequence[float]:
    predictions = found.predictions
    if isinstance(predictions, PredictionSet):
        labels = predictions.labels[mapped.indices].tolist()
        return [found.class_names[label] for label in labels]
    if isinstance(predictions, RegressionPredictions):
        values: list[float] = predictions.targets[mapped.indices].tolist()
        return values
    counts = (predictions.targets[mapped.indices] > 0).sum(dim=1).tolist()
    return [f"{count} class{'es' * (count != 1)}" for count in counts]


def _right(found: MeasuredSplit, mapped: FeatureMap) -> list[bool]:
    """Return which predictions are right; of numbers none is called wrong."""
    if isinstance(found.predictions, RegressionPredictions):
        return [True] * len(mapped.indices)
    right: list[bool] = found.predictions.right[mapped.indices].tolist()
    return right
