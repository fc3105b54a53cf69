"""What was not tested, as far as a run shows it."""

from tltool.evaluation.predictions import PredictionSet
from tltool.reporting.card.card_facts import CardFacts
from tltool.reporting.markdown import markdown_text

FEW_IMAGES = 20
"""Of a class: a recall of as many has a 95 % interval of about 0.4."""


def untested(facts: CardFacts) -> list[str]:
    """Return one sentence for each."""
    found = [*_of_measurement(facts)]
    if "seed_everything" in facts.checkpoint.get("config", {}):
        seed = facts.checkpoint["config"]["seed_everything"]
        found.append(f"Other random numbers: this is one training, with seed {seed}.")
    found += [
        "Images from other sources, cameras or times than those of the data.",
        "Blurred, noisy, cropped, rotated or strongly compressed images.",
        "Whether errors are more frequent for some kinds of images, such as of some groups of "
        "people.",
        "The export on other devices and in other precisions than on a CPU in 32 bits.",
    ]
    if facts.task.objective == "single_label":
        found.append("Images of none of the classes: the model names one of them for any image.")
    return found


def _of_measurement(facts: CardFacts) -> list[str]:
    measured = facts.evaluation
    if measured is None:
        return ["How well it does: no images were measured for this card."]
    found = []
    if facts.has_chosen:
        found.append(
            "Images that chose nothing: there is no test split, and the validation images chose "
            "the weights too, so that the metrics are slightly optimistic."
        )
    if measured.groups is None:
        found.append(
            "Whether images that belong together, such as those of one patient or place, are in "
            "several splits: the data names no groups."
        )
    if isinstance(measured.predictions, PredictionSet):
        classes = measured.predictions.classes(measured.class_names)
        few = [markdown_text(each.name) for each in classes if each.num_images < FEW_IMAGES]
        if few:
            more = f" and {len(few) - 5} more" if len(few) > 5 else ""
            named = ", ".join(few[:5])
            found.append(f"Classes with fewer than {FEW_IMAGES} measured images: {named}{more}.")
    return found
