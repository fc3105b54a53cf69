"""The sections about predictions: what is confused with what, how sure they are, the worst ones."""

import io
from collections.abc import Sequence
from typing import Literal

from PIL import Image

from tltool.data.dataset import Decoder
from tltool.diagnosis.calibration import NUM_BINS
from tltool.reporting.evaluation import Evaluation, calibration, confusion
from tltool.reporting.figures import draw_calibration, draw_confusion
from tltool.reporting.html import (
    data_uri,
    paragraph,
    picture,
    pictures,
    section,
    table,
    text,
)

MOST_IN_TABLE = 8
"""Classes whose matrix fits a narrow screen as a table."""
MOST_MISTAKES = 12
NUM_PHOTOS = 12
THUMBNAIL = 160
"""Longest side of a photo on the page, in pixels."""


def confusion_section(evaluation: Evaluation) -> str:
    """Return the confusion matrix and the most frequent mistakes."""
    names, counts = evaluation.class_names, confusion(evaluation)
    matrix = _matrix(evaluation) if len(names) <= MOST_IN_TABLE else _matrix_picture(evaluation)
    pairs = [(label, other) for label, other in counts.nonzero().tolist() if label != other]
    mistakes = sorted(pairs, key=lambda pair: -int(counts[pair]))[:MOST_MISTAKES]
    numbered = [f"{number} {name}" for number, name in enumerate(names, start=1)]
    rows = [
        (numbered[label], numbered[other], int(counts[label, other]), int(counts[label].sum()))
        for label, other in mistakes
    ]
    header = ("true class", "taken for", "photos", "of")
    listed = table(header, rows, numbers=(2, 3), stacks=False)
    found = listed if rows else paragraph("There is no mistake.")
    return section("What is taken for what", matrix, "<h3>Most frequent mistakes</h3>", found)


def _matrix(evaluation: Evaluation) -> str:
    names, counts = evaluation.class_names, confusion(evaluation).tolist()
    head = "".join(f'<th class="number">{number + 1}</th>' for number in range(len(names)))
    lines = []
    for number, (name, row) in enumerate(zip(names, counts, strict=True)):
        cells = "".join(_cell(count, sum(row), is_right=number == i) for i, count in enumerate(row))
        lines.append(f"<tr><th>{number + 1} {text(name)}</th>{cells}</tr>")
    caption = paragraph("Photos by their true class (row) and the predicted one (column).", "small")
    return f'{caption}<table class="matrix"><tr><th>class</th>{head}</tr>{"".join(lines)}</table>'


def _cell(count: int, total: int, *, is_right: bool) -> str:
    # Light enough for dark letters on it; the right ones are bold too.
    shade = f"rgba(0, 114, 178, {0.5 * count / max(total, 1):.2f})"
    number = f"<b>{count:,}</b>" if is_right else f"{count:,}"
    return f'<td class="number shade" style="background: {shade}">{number}</td>'


def _matrix_picture(evaluation: Evaluation) -> str:
    description = "The share of each true class that was taken for each class, bright where high."
    drawn = pictures(picture(draw_confusion(confusion(evaluation)), description))
    numbers = ", ".join(f"{n} {name}" for n, name in enumerate(evaluation.class_names, start=1))
    listed = paragraph(numbers, "small")
    return f"{drawn}<details><summary>Numbers of the classes</summary>{listed}</details>"


def calibration_section(evaluation: Evaluation) -> str:
    """Return how sure the predictions are, and how often they are right."""
    bins, error = calibration(evaluation)
    sure = evaluation.probabilities.max(dim=1).values.double().mean().item()
    right = evaluation.correct.double().mean().item()
    gap = "too sure" if sure > right else "not sure enough"
    rows = [(f"{b.confidence:.3f}", f"{b.accuracy:.3f}", f"{b.num_photos:,}") for b in bins]
    header = ("mean confidence", "share right", "photos")
    return section(
        "How far its confidence can be trusted",
        paragraph(
            f"On average it is {sure:.3f} sure and {right:.3f} right: {abs(sure - right):.3f} "
            f"{gap}. Expected calibration error, over {NUM_BINS} bins: {error:.3f}."
        ),
        pictures(
            picture(draw_calibration(bins), "Share of right predictions over confidence."),
            f"<div>{table(header, rows, numbers=(0, 1, 2), stacks=False)}</div>",
        ),
    )


def photos_section(
    evaluation: Evaluation, decode: Decoder, mode: Literal["L", "RGB"], *, photos: bool
) -> str:
    """Return the photos whose own class got the least probability, and what they were taken for.

    Args:
        evaluation: The predictions.
        decode: Makes a photo from a path.
        mode: Of the photos.
        photos: Put the photos on the page; else their names only, for photos may be private.
    """
    own = evaluation.probabilities.gather(1, evaluation.labels[:, None])[:, 0]
    wrong = (~evaluation.correct).nonzero()[:, 0]
    worst = wrong[own[wrong].argsort()][:NUM_PHOTOS].tolist()
    title = "The worst mistakes"
    if not worst:
        return section(title, paragraph("There is none: all photos are predicted right."))
    note = "Those whose own class got the least probability, the worst first."
    if photos:
        decoded = (decode(evaluation.paths[index], mode=mode) for index in worst)
        items = [_item(evaluation, *pair) for pair in zip(worst, decoded, strict=True)]
        body = f'<ul class="photos">{"".join(items)}</ul>'
    else:
        note += " The photos were left out (--no_photos)."
        header = ("photo", "predicted", "is")
        body = table(header, [(evaluation.names[i], *_words(evaluation, i)) for i in worst])
    return section(title, paragraph(note, "small"), body)


def thumbnail(photo: Image.Image) -> bytes:
    """Return a small JPEG of a photo, without what the file said of place and camera."""
    small = photo.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    small.info = {}  # Pillow would write the comment of a JPEG again.
    content = io.BytesIO()
    small.save(content, format="JPEG", quality=75)
    return content.getvalue()


def _item(evaluation: Evaluation, index: int, photo: Image.Image) -> str:
    predicted, own = _words(evaluation, index)
    name = text(evaluation.names[index])
    image = f'<img src="{data_uri(thumbnail(photo), "jpeg")}" alt="{name}">'
    mark = "\N{MULTIPLICATION X}"
    said = f"{mark} {text(predicted)}<br>is {text(own)}"
    return f'<li>{image}<br>{said}<br><span class="small">{name}</span></li>'


def _words(evaluation: Evaluation, index: int) -> Sequence[str]:
    probabilities = evaluation.probabilities[index]
    names, label = evaluation.class_names, int(evaluation.labels[index])
    predicted = int(probabilities.argmax())
    return (
        f"{names[predicted]} {probabilities[predicted]:.2f}",
        f"{names[label]} {probabilities[label]:.2f}",
    )
