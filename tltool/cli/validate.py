"""`tltool validate` and `tltool test`: measure a checkpoint."""

import logging
from collections.abc import Sequence

from tltool._plain_text import one_line, plain_console
from tltool.cli.evaluation import Setup, run_evaluation
from tltool.data.datamodules.image_datamodule import SplitName
from tltool.evaluation.multi_label import LabelMetrics
from tltool.evaluation.per_class import ClassMetrics
from tltool.inference.checkpoint_trust import Trust
from tltool.inference.predictor import Predictor
from tltool.inference.refit_start import REFIT
from tltool.inference.split_limits import SplitLimits, listening
from tltool.inference.tested_images import as_tested, num_trained_on
from tltool.reporting.limit_tables import set_table
from tltool.reporting.multi_label_sections import label_table
from tltool.reporting.tables import FactTable, class_table, rich_table
from tltool.training.callbacks.ending_files import ENDING
from tltool.training.callbacks.feature_reading import caching_of, reading_features
from tltool.training.checkpoint_io import read_checkpoint

log = logging.getLogger(__name__)

MAX_CLASSES_SHOWN = 20
_TUNED = "a part of its training images was its val, and chose the epoch."


def main(argv: Sequence[str]) -> int:
    """Run ``tltool validate`` or ``tltool test``."""
    return run_evaluation(argv[0], argv[1:], validate if argv[0] == "validate" else test)


def validate(setup: Setup) -> None:
    """Measure a checkpoint on the validation images."""
    _measure(setup, "val")


def test(setup: Setup) -> None:
    """Measure a checkpoint on the test images."""
    _measure(setup, "test")


def _measure(setup: Setup, split: SplitName) -> None:
    predictor = Predictor(setup.task, source=setup.ckpt_path)
    checkpoint = read_checkpoint(setup.ckpt_path)
    trust, tested = Trust.of_checkpoint(checkpoint), as_tested(setup.data.splits, checkpoint)
    if tested is not None and split == "test":
        setup.data.splits = tested
    limits = SplitLimits(trust, len(predictor.class_names)) if trust else None
    caching = caching_of(setup.ckpt_path)
    with listening(setup.trainer, limits), reading_features(setup.trainer, caching):
        values, classes = predictor.measure(setup.data, split, trainer=setup.trainer)
    if not setup.trainer.is_global_zero:
        return  # All ranks know the same.
    digits = ".4g" if predictor.objective == "regression" else ".4f"  # Of any unit.
    rows = [(name, f"{value:{digits}}") for name, value in values.items()]
    if number := num_trained_on(setup.data.splits, split, checkpoint):
        is_refit = checkpoint.get(ENDING, {}).get("candidate") == REFIT
        cure = "type tltool test" if is_refit else "measure images that it has not seen"
        log.warning(
            "%s of these %s images have names of images that this checkpoint was trained on. If "
            "they are the same, the numbers flatter it: %s.",
            *(f"{number:,}", f"{len(setup.data.samples(split)):,}", cure),
        )
    print(one_line(setup.ckpt_path))
    plain_console().print(rich_table(FactTable(("metric", "value"), rows)))
    if tested is not None:
        number = len(setup.data.samples(split))
        print(f"These {number:,} images are val in the data, and were test in the run: {_TUNED}")
    if sentence := predictor.task.calibration.describe(setup.data.splits, split):
        print(sentence)
    if classes:
        plain_console().print(rich_table(_class_table(classes)))
    if limits is not None:
        found = limits.result(setup.data, split)
        plain_console().print(rich_table(set_table(found, predictor.class_names)))
        for sentence in found.sentences():
            print(one_line(sentence))


def _class_table(classes: list[ClassMetrics] | list[LabelMetrics]) -> FactTable:
    """Return one row for each class, or for those that are predicted worst."""
    labels = [each for each in classes if isinstance(each, LabelMetrics)]
    if labels:
        return label_table(labels, MAX_CLASSES_SHOWN, intervals=False)
    single = [each for each in classes if isinstance(each, ClassMetrics)]
    return class_table(single, MAX_CLASSES_SHOWN)
