import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import timm
from safetensors.torch import save_file
from timm.models._hub import save_for_hf

from tltool.models.backbone import Backbone
from tltool.models.weights.hub_repository import find_file, find_weights

NAME = "hf-hub:someone/flowers"
COMMIT = "0a1b" * 10


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as answers downloads: the files in a folder, at one commit."""

    def __init__(self, folder, *args):
        self.folder = folder
        super().__init__(*args)

    def do_HEAD(self):  # the name that the server looks for
        self.answer(b"")

    def do_GET(self):  # the name that the server looks for
        self.answer(None)

    def answer(self, body):
        repository, _, rest = self.path.strip("/").partition("/resolve/main/")
        file = self.folder / rest
        found = repository in ("", "someone/flowers") and (file.is_file() or not rest)
        content = file.read_bytes() if found and rest else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        if found:
            self.send_header("ETag", f'"{rest}"')
        elif repository == "someone/flowers":
            self.send_header("X-Error-Code", "EntryNotFound")
        else:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        self.wfile.write(content if body is None else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def folder(tmp_path):
    """A small network as timm saves it."""
    path = tmp_path / "repository"
    save_for_hf(timm.create_model("test_resnet", num_classes=3), path, safe_serialization=True)
    return path


@pytest.fixture
def hub(caches, folder, monkeypatch):
    """A hub on this machine that has it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield folder
        server.shutdown()


@pytest.fixture
def cached(caches, folder):
    """A hub that does not answer, and what an earlier download left of it."""
    repository = caches / "hub" / "models--someone--flowers"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "snapshots").mkdir()
    folder.rename(repository / "snapshots" / COMMIT)
    return repository / "snapshots" / COMMIT


def test_a_repository_is_downloaded(hub):
    assert Backbone(NAME).name == "test_resnet"


def test_a_downloaded_repository_is_there_without_a_network(hub, monkeypatch):
    Backbone(NAME)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert Backbone("test_resnet", NAME).weights == NAME


def test_a_repository_in_the_cache_needs_no_network(cached):
    assert Backbone(NAME).description["init_args"]["name"] == "test_resnet"


def test_without_a_network_the_other_sources_are_named(caches):
    with pytest.raises(ConnectionError, match=r"weights of hf-hub:someone/flowers: .*local-dir:FO"):
        Backbone(NAME)


def test_offline_mode_asks_no_hub(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="HF_HUB_OFFLINE forbids to download"):
        Backbone(NAME)


def test_a_repository_that_is_not_there_is_named(hub):
    with pytest.raises(ValueError, match="The hub has no repository 'someone/flowrs'"):
        Backbone("hf-hub:someone/flowrs")


def test_a_repository_without_a_configuration_is_refused(hub):
    (hub / "config.json").unlink()
    with pytest.raises(ValueError, match=r"has no config\.json\. Is it one of timm"):
        Backbone(NAME)


def test_a_repository_without_weights_is_refused(hub):
    (hub / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="has no weights that tltool reads"):
        Backbone(NAME)


def test_weights_in_several_files_are_downloaded_whole(hub):
    weights = hub / "model.safetensors"
    weights.rename(hub / "one.safetensors")
    index = '{"weight_map": {"a": "one.safetensors"}}'
    (hub / "model.safetensors.index.json").write_text(index)
    assert find_weights(NAME).with_name("one.safetensors").is_file()


def test_a_shard_lies_in_its_repository(hub):
    save_file({}, hub / "one.safetensors")
    (hub / "model.safetensors").unlink()
    index = '{"weight_map": {"a": "../../one.safetensors"}}'
    (hub / "model.safetensors.index.json").write_text(index)
    assert find_weights(NAME).with_name("one.safetensors").is_file()


@pytest.mark.parametrize(
    "source", ["hf-hub:flowers", "hf-hub:", "hf-hub:../../flowers", "hf-hub:a b/c"]
)
def test_what_is_no_repository_is_refused(source):
    with pytest.raises(ValueError, match=r"names no repository of the hub. Write hf-hub:ORGANIZ"):
        find_file(source, "config.json")


def test_a_file_in_the_cache_is_found_by_its_revision(cached):
    assert find_file(f"{NAME}@{COMMIT}", "config.json") == Path(cached, "config.json")
