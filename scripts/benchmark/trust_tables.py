"""The tables of trust.py, from what was measured."""

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from results import Row

Results = dict[str, list[tuple[Row, Row]]]


def print_tables(results: Path) -> None:
    """Print all tables."""
    found: Results = defaultdict(list)
    for line in results.read_text().splitlines():
        row = json.loads(line)
        found[row["key"]["what"]].append((row["key"], row["result"]))
    for table in (flip_rows, unknown_rows, coverage_rows, shortcut_rows):
        print("\n".join(["", *table(found)]))
    for key, result in found["time"]:
        print(
            f"\n{key['num_images']:,} images of 1,280 features: {result['seconds']:.0f} s, of the "
            f"processor {result['cpu_seconds']:.0f} s, {result['megabytes']:.0f} MB beside them."
        )


def flip_rows(found: Results) -> list[str]:
    """Return precision and recall of the lists of label errors, draws pooled."""
    lines = [
        "| set | flips | probe | list | draws | precision | recall | F1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for key, result in found["flips"]:
        groups[key["set"], key["kind"]].append(result)
    for (name, kind), results in groups.items():
        methods = dict.fromkeys(method for each in results for method in each["lists"])
        for method in methods:
            lists = [each["lists"][method] for each in results if method in each["lists"]]
            right, listed, flipped = (
                sum(each[part] for each in lists) for part in ("found", "listed", "flipped")
            )
            precision, recall = right / max(listed, 1), right / flipped
            f1 = 2 * precision * recall / max(precision + recall, 1e-9)
            lines.append(
                f"| {name} | {kind} | {results[0]['accuracy']:.3f} | {method} | {len(lists)} | "
                f"{precision:.3f} | {recall:.3f} | {f1:.3f} |"
            )
    return lines


def unknown_rows(found: Results) -> list[str]:
    """Return the AUROC of each score, over the classes that were left out."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for key, result in found["unknown"]:
        groups[key["set"]].append(result)
    methods = list(next(iter(groups.values()))[0]) if groups else []
    lines = [f"| set | classes | {' | '.join(methods)} |", "|---" * (len(methods) + 2) + "|"]
    for name, results in groups.items():
        means = (f"{statistics.mean(each[m] for each in results):.3f}" for m in methods)
        lines.append(f"| {name} | {len(results)} | {' | '.join(means)} |")
    return lines


def coverage_rows(found: Results) -> list[str]:
    """Return the coverage over resamplings beside the error that its images leave."""
    lines = [
        "| set | asked | coverage | error | at its temperature | as written | classes in a set |",
        "|---|---|---|---|---|---|---|",
    ]
    groups: dict[str, list[Row]] = defaultdict(list)
    for key, result in found["coverage"]:
        groups[key["set"]].append(result)
    for name, results in groups.items():
        for asked in (0.8, 0.9, 0.95):
            exact, written, size = _means(each[f"raw {asked}"] for each in results)
            scaled = _means(each[f"scaled {asked}"] for each in results)[0]
            # Of one half that sets the threshold, and one that is judged.
            counts = (1 / results[0]["num_images"] + 1 / results[0]["num_known"]) ** 0.5
            error = counts * math.sqrt(asked * (1 - asked))
            lines.append(
                f"| {name} | {asked} | {exact:.3f} | {error:.3f} | {scaled:.3f} | {written:.3f} "
                f"| {size:.2f} |"
            )
    return lines


def shortcut_rows(found: Results) -> list[str]:
    """Return how often planted shortcuts are found, and how often clean halves raise an alarm."""
    lines = ["| images | audits | with a warning | named |", "|---|---|---|---|"]
    groups: dict[str, list[Sequence[str]]] = defaultdict(list)
    for key, result in found["planted"]:
        groups[f"{key['set']}, {key['kind']}"].append(result["found"])
    groups["clean halves of one class"] = [result["found"] for _, result in found["clean halves"]]
    for name, lists in groups.items():
        named = ", ".join(sorted({kind for each in lists for kind in each}))
        lines.append(f"| {name} | {len(lists)} | {sum(map(bool, lists))} | {named} |")
    return lines


def _means(rows: Iterable[Sequence[float]]) -> list[float]:
    return [statistics.mean(values) for values in zip(*rows, strict=True)]
