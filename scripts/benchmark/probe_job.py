"""What transfer.py measures as a probe: a linear classifier on frozen features, to convergence.

`probe` is tltool's ridge in closed form, `logistic` scikit-learn's logistic regression on
standardized features, which checks it. Prints the predicted class of each validation image.

Usage: python probe_job.py SPEC  (JSON: method, flags of `tltool fit`)
"""

import json
import sys
from pathlib import Path
from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tltool.cli.build import build
from tltool.cli.process import set_up_process
from tltool.cli.run_start import begin
from tltool.cli.sections import experiment_parser
from tltool.features.extraction import extract_features
from tltool.models.ridge_probe import fit_ridge_probe
from tltool.training.backbone_start import calibrate_backbone_


def main() -> None:
    """Fit the probe, and print its predictions as JSON."""
    spec = json.loads(sys.argv[1])
    set_up_process()
    parser = experiment_parser("fit")
    config = parser.parse_args(spec["flags"])
    experiment = build(parser, config, begin(parser, config))
    data = experiment.data
    backbone = calibrate_backbone_(experiment.backbone, data)
    features: dict[str, Any] = {}
    for split in ("train", "val"):
        loader = data.evaluation_dataloader(split)  # type: ignore[arg-type]
        features[split] = extract_features(backbone, loader, description=split, total=len(loader))
    x, y = features["train"]
    if spec["method"] == "probe":
        labels = fit_ridge_probe(x, y, data.num_classes).predict(features["val"][0]).tolist()
    else:
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
        labels = pipeline.fit(x.numpy(), y.numpy()).predict(features["val"][0].numpy()).tolist()
    paths = [Path(path) for path in data.samples("val").paths]
    predicted = {
        f"{path.parent.name}/{path.name}": data.class_names[label]
        for path, label in zip(paths, labels, strict=True)
    }
    print(json.dumps({"predicted": predicted, "epochs": 0}))


if __name__ == "__main__":
    main()
