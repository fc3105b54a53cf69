import json
import re
import struct
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from wandb.proto import wandb_internal_pb2

from tltool.__main__ import main

SMALL = [
    *("--model.backbone.name", "test_resnet", "--model.backbone.weights", "random"),
    *("--model.backbone.img_size", "32", "--data.batch_size", "8", "--data.num_workers", "0"),
    *("--wandb.project", "test"),
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


ENTITY = "team"


class Recorder(ThreadingHTTPServer):
    """A server that speaks as much of W&B's GraphQL as a dashboard needs, and keeps requests.

    Attributes:
        runs: The runs of each project, by id.
        views: Workspaces and reports, as they were sent.
        saved: The variables of each request that saved a view.
        refusal: Status and message of every answer, once set.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs, self.views, self.saved, self.refusal = {}, [], [], None
        self.refuses_saving = False
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, run, project="test"):
        """Take a run, as `read_offline_run` reads it, as if it had been synced."""
        node = {"id": f"storage-{run.id}", "name": run.id, "displayName": run.name}
        node |= {"state": "finished", "group": run.group, "projectId": "1", "tags": []}
        node["config"] = json.dumps({key: {"value": each} for key, each in run.config.items()})
        node["summaryMetrics"] = json.dumps(run.summary)
        node["systemMetrics"] = json.dumps({"system.cpu": 3.0, "system.gpu.0.gpu": 90.0})
        names = {name for row in run.history for name in row}
        node["historyKeys"] = {"keys": {name: {} for name in names}, "lastStep": 1}
        self.runs.setdefault(project, {})[run.id] = node

    def delete(self, kind):
        self.views = [view for view in self.views if view["type"] != kind]

    def latest(self, kind):
        """Return the content of the last saved view of a kind."""
        return json.loads([each for each in self.saved if each["type"] == kind][-1]["spec"])

    def answer(self, query, variables):
        if "upsertBucket" in query:
            runs = (run for project in self.runs.values() for run in project.values())
            (run,) = (run for run in runs if run["id"] == variables["id"])
            run["summaryMetrics"] = variables["summaryMetrics"]
            return {"upsertBucket": {"bucket": {"id": run["id"]}}}
        if "upsertView" in query:
            return {"upsertView": self._save(variables)}
        if "allViews" in query:
            return {"project": {"allViews": self._find(variables)}}
        if "viewer" in query:
            teams = {"edges": []}
            person = {"id": "1", "entity": ENTITY, "username": "me", "email": "", "flags": "{}"}
            return {"viewer": person | {"teams": teams}}
        if "models(" in query:
            node = {"id": "1", "name": "test", "entityName": ENTITY, "isBenchmark": False}
            node |= {"createdAt": "2025-01-01T00:00:00Z", "user": None}
            page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
            return {"models": {"edges": [{"node": node}], "pageInfo": page}}
        if "internalId" in query:
            return {"project": {"id": "1", "internalId": "1"}}
        if re.search(r"run\(name", query):
            return {"project": {"run": self._run(variables)}}
        raise AssertionError(f"unknown request: {query}")

    def _run(self, variables):
        is_there = variables["entity"] == ENTITY
        return self.runs.get(variables["project"], {}).get(variables["name"]) if is_there else None

    def _find(self, variables):
        kind, name = variables.get("viewType", "runs"), variables.get("viewName")
        found = [v for v in self.views if v["type"] == kind and name in {None, v["name"]}]
        page = {"endCursor": None, "hasNextPage": False}
        return {"edges": [{"node": view, "cursor": ""} for view in found], "pageInfo": page}

    def _save(self, variables):
        self.saved.append(variables)
        found = next((v for v in self.views if v["id"] == variables.get("id")), None)
        view = found if found is not None else {"id": f"VmlldzoxMjM{len(self.saved)}="}
        project = {"id": "1", "name": variables["projectName"], "entityName": ENTITY}
        names = ("name", "displayName", "description", "type", "spec")
        view |= {name: variables.get(name) for name in names} | {"project": project}
        view |= {"updatedAt": "2025-01-01T00:00:00Z", "createdAt": "2025-01-01T00:00:00Z"}
        if found is None:
            self.views.append(view)
        return {"view": view, "inserted": found is None}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        refused = self.server.refusal
        if self.server.refuses_saving and "upsertView" in body["query"]:
            refused = (403, "permission denied")
        status, answer = (200, None) if refused is None else refused
        if refused is None:
            content = {"data": self.server.answer(body["query"], body.get("variables") or {})}
        else:
            content = {"errors": [{"message": answer}]}
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        """Print nothing."""


@pytest.fixture(scope="session")
def start_recorder():
    """Return a context with a recorder of requests, which this process has an account of."""

    @contextmanager
    def start():
        with Recorder() as recorder, pytest.MonkeyPatch.context() as patch:
            patch.setenv("WANDB_BASE_URL", recorder.url)
            patch.setenv("WANDB_API_KEY", "a" * 40)
            yield recorder
            recorder.shutdown()

    return start


@pytest.fixture
def server(start_recorder):
    with start_recorder() as recorder:
        yield recorder
