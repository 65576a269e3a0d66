"""Weights are found where they should be, and believed only when they fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engines.errors import InspectError, UsageError, WeightsError
from trainer import weights
from trainer.backbone import build_backbone
from trainer.weights import ENVIRONMENT, find_weights


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {key: value.contiguous() for key, value in build_backbone("resnet18").state_dict().items()}


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache and no weights in the environment."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    return tmp_path / "hub" / "checkpoints"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_reads_both_kinds_of_file(tmp_path: Path, state: dict[str, torch.Tensor], suffix: str) -> None:
    path = tmp_path / f"own{suffix}"
    extra = {**state, "fc.weight": torch.zeros(1000, 512), "layer4.0.conv1.weight": torch.zeros(2)}
    save_file(extra, path) if suffix == ".safetensors" else torch.save(extra, path)
    found = find_weights("resnet18", str(path))
    assert found.source == path.name
    assert len(found.sha256) == 64
    np.testing.assert_array_equal(found.arrays["layer3.1.conv2.weight"], state["layer3.1.conv2.weight"].numpy())
    build_backbone("resnet18", found.arrays)


def test_the_environment_names_a_file(
    tmp_path: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(state, tmp_path / "env.safetensors")
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "env.safetensors"))
    assert find_weights("resnet18").source == "env.safetensors"


Spoil = Callable[[Path, dict[str, torch.Tensor]], None]


def wrong_backbone(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save({key: value for key, value in state.items() if not key.startswith("layer2")}, path)


def wrong_shape(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save({**state, "conv1.weight": torch.zeros(64, 1, 7, 7)}, path)


def pickled_code(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save({"conv1.weight": Path}, path)


def text(path: Path, state: dict[str, torch.Tensor]) -> None:
    path.write_text("not weights")


def truncated(path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("spoil", [text, truncated, wrong_backbone, wrong_shape, pickled_code])
def test_refuses_a_file_that_does_not_fit(
    tmp_path: Path, state: dict[str, torch.Tensor], spoil: Spoil, suffix: str
) -> None:
    path = tmp_path / f"bad{suffix}"
    spoil(path, state)
    with pytest.raises(WeightsError, match=path.name):
        find_weights("resnet18", str(path))


@pytest.mark.parametrize(
    ("backbone", "spec", "kind"),
    [("resnet18", "/does/not/exist.pth", WeightsError), ("resnet19", None, UsageError)],
)
def test_refuses_what_is_not_there(backbone: str, spec: str | None, kind: type[InspectError]) -> None:
    with pytest.raises(kind):
        find_weights(backbone, spec)


def test_random_weights_are_asked_for_by_name_and_seeded() -> None:
    first, again, other = (find_weights("resnet18", "random", seed) for seed in (0, 0, 1))
    assert first.sha256 == again.sha256 != other.sha256
    assert first.source == "random, seed 0"


class Files(BaseHTTPRequestHandler):
    """A server of one file, at any address."""

    content = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real HTTP server with resnet18's weights; yields the beginning of their sha256."""
    torch.save(state, tmp_path / "served.pth")
    content = (tmp_path / "served.pth").read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:8]
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (Files,), {"content": content})) as http:
        thread = Thread(target=http.serve_forever)
        thread.start()
        monkeypatch.setattr(weights, "_BASE_URL", f"http://127.0.0.1:{http.server_port}/")
        yield digest
        http.shutdown()
        thread.join()


def test_downloads_once_into_the_hub_cache(server: str, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"resnet18-{server}.pth"
    monkeypatch.setitem(weights.OFFICIAL, "resnet18", name)
    assert find_weights("resnet18").source == name
    assert [path.name for path in hub.iterdir()] == [name]
    monkeypatch.setattr(weights, "_BASE_URL", "http://127.0.0.1:9/")
    assert find_weights("resnet18").source == name


def test_a_download_with_another_hash_is_not_believed(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(weights.OFFICIAL, "resnet18", "resnet18-00000000.pth")
    with pytest.raises(WeightsError, match="sha256 that begins with 00000000"):
        find_weights("resnet18")


def test_no_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch, hub: Path) -> None:
    monkeypatch.setattr(weights, "_BASE_URL", "http://127.0.0.1:9/")
    with pytest.raises(WeightsError, match=r"no weights for resnet18: .*--weights"):
        find_weights("resnet18")
    assert list(hub.iterdir()) == []
