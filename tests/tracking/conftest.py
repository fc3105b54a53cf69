import json
import struct
import time
from types import SimpleNamespace

import pytest
from wandb.proto import wandb_internal_pb2

from tltool.__main__ import main

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--wandb.project", "test", "--trainer.log_every_n_steps", "1"),
]
BLOCK, HEADER, FILE_HEADER = 32768, 7, 7


def read_records(path):
    """Return the records of a `.wandb` file, which are chunks in blocks as in LevelDB's log."""
    data, position, payload = path.read_bytes(), FILE_HEADER, b""
    while position + HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        position += HEADER
        if position + length > len(data):
            return  # Its end is still to be written.
        payload += data[position : position + length]
        position += length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(payload)
            payload = b""
            yield record


def read_finished(path, timeout=20):
    """Return the records of a run's file; its last ones may come a moment after `finish`."""
    end = time.monotonic() + timeout
    while True:
        records = list(read_records(path))
        if any(record.WhichOneof("record_type") == "exit" for record in records):
            return records
        assert time.monotonic() < end, f"{path} does not end"
        time.sleep(0.05)


def place(target, item):
    path = list(item.nested_key) or [item.key]
    for key in path[:-1]:
        target = target.setdefault(key, {})
    target[path[-1]] = json.loads(item.value_json)


def read_offline_run(folder):
    """Return what an offline run holds, from its file alone."""
    (path,) = folder.glob("*.wandb")
    run = SimpleNamespace(
        files=folder / "files", config={}, history=[], summary={}, charts={}, alerts=[]
    )
    run.artifacts = []
    for record in read_finished(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.id, run.name = record.run.run_id, record.run.display_name
            run.group, run.job_type = record.run.run_group, record.run.job_type
            run.tags = list(record.run.tags)
        if kind in ("run", "config"):
            for item in (record.run.config if kind == "run" else record.config).update:
                place(run.config, item)
        if kind == "history":
            row = {}
            for item in record.history.item:
                place(row, item)
            run.history.append(row)
        if kind == "summary":
            for item in record.summary.update:
                place(run.summary, item)
        if kind == "metric" and record.metric.name:
            run.charts[record.metric.name] = record.metric
        if kind == "alert":
            run.alerts.append(record.alert)
        if kind == "artifact":
            run.artifacts.append(record.artifact)
    return run


@pytest.fixture(scope="session")
def offline_runs():
    """Return a function that reads the offline runs of a run's folder, oldest first."""

    def read(folder):
        return [read_offline_run(path) for path in sorted((folder / "wandb").glob("offline-run-*"))]

    return read


@pytest.fixture(scope="session")
def fit_offline(offline_runs):
    """Return a function that fits with W&B offline in a folder and reads the runs back."""

    def fit(folder, *args):
        assert main(["fit", *SMALL, "--runs_dir", str(folder), *map(str, args)]) == 0
        return offline_runs(max(folder.glob("*/*/config.yaml")).parent)

    return fit
