"""`mezzotint export`: a folder with a model card, as a whole or not at all."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import mezzotint as package
from mezzotint.app.commands import export
from mezzotint.runs.load import load

Command = Callable[..., Any]


def test_a_safetensors_export_has_a_card_and_starts_a_run(mezzotint: Command, trained: Path) -> None:
    done = mezzotint("export", "run=runs/latest", "format=safetensors", "license=cc0-1.0")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "runs/a/export/safetensors"
    folder = trained / "export/safetensors"
    _, head, text = (folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "cc0-1.0"
    for said in (
        "# a\n",
        "Digits",
        "1,500 training images",
        "UNet(",
        "fd_digits_16",
        "DDIM(eta=0.0)",
        "mezzotint.load(",
    ):
        assert said in text
    found, expected = package.load(folder / "model.safetensors").state_dict(), load(trained).state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    tiny = ("debug=tiny", "hardware=cpu", "callbacks=minimal", "metrics=[]", "grid.steps=1", "n=1")
    assert mezzotint("train", *tiny, "name=b", f"init={folder}/model.safetensors").code == 0
    raw = mezzotint("export", "run=runs/a", "format=safetensors", "weights=raw")  # in place of the other
    assert raw.code == 0
    assert "weights `raw`" in (folder / "README.md").read_text()
    assert {file.name for file in folder.iterdir()} == {"README.md", "model.safetensors"}
    assert [file.name for file in folder.parent.iterdir()] == ["safetensors"]


def test_every_format_is_named_before_torch_is_imported() -> None:
    assert tuple(export.formats()) == export.FORMATS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run=runs/a", "which run, and which format"),
        ("run=runs/a format=safetensor", "did you mean 'safetensors'"),
        ("run=nowhere format=safetensors", "is not a run"),
        ("run=runs/a format=safetensors weights=0.3", "weights=0.3"),
        ("run=runs/a format=safetensors checkpoint=7", "checkpoint=7"),
        ("run=runs/a format=safetensors out=runs", "it exists and is not an export"),
        ("run=runs/a format=safetensors more=1", "export takes run=, format="),
    ],
)
def test_what_cannot_be_is_one_line(mezzotint: Command, trained: Path, words: str, said: str) -> None:
    done = mezzotint("export", *words.split())
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (trained / "export").exists()


def test_packages_that_are_missing_are_named(
    mezzotint: Command, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for format, said in (("onnx", "onnx, onnxscript: pip install onnx onnxscript"), ("diffusers", "needs diffusers")):
        done = mezzotint("export", "run=runs/a", f"format={format}")
        assert done.code == 2
        assert said in done.err
