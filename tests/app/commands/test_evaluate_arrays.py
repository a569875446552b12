"""Samples of any program that are not images: arrays against arrays, in features of the values."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

QUICK = ("hardware=cpu", "metrics=[fid]")


@pytest.fixture
def files(home: Path) -> Path:
    """500 real series and 300 samples of another mean, in each format."""
    random = np.random.default_rng(0)
    real, drawn = (
        (mean + 20 * random.standard_normal((count, 2, 6))).astype(np.float32)
        for mean, count in ((300, 500), (310, 300))
    )
    np.save(home / "real.npy", real)
    np.save(home / "drawn.npy", drawn)
    np.savez_compressed(home / "drawn.npz", data=drawn, labels=np.zeros(300, np.int64))
    np.savez(home / "unnamed.npz", drawn)
    save_file({"x": drawn}, home / "drawn.safetensors")
    return home


def evaluated(mezzotint: Any, out: str, *words: str) -> dict[str, Any]:
    done = mezzotint("evaluate", *words, *QUICK, f"out={out}")
    assert done.code == 0, done.err
    return json.loads(Path(out).read_text())


def test_the_distance_is_that_of_the_standardised_values(mezzotint: Any, files: Path) -> None:
    found = evaluated(mezzotint, "a.json", "images=drawn.npy", "reference=real.npy")
    real, drawn = (np.load(f"{name}.npy").astype(np.float64) for name in ("real", "drawn"))
    mean, std = real.mean((0, 2), keepdims=True), real.std((0, 2), keepdims=True)
    rows = [((part - mean) / std).reshape(len(part), -1) for part in (drawn, real)]
    means = [part.mean(0) for part in rows]
    covariances = [np.cov(part.T) for part in rows]
    cross = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(0)).sum()
    expected = np.square(means[0] - means[1]).sum() + np.trace(covariances[0] + covariances[1]) - 2 * cross
    assert found["values"]["fd_raw_300"] == pytest.approx(expected, rel=1e-4)
    protocol = found["protocol"]
    assert protocol["codec"]["_target_"].endswith("StandardizeCodec")
    assert protocol["codec"]["mean"] == pytest.approx(mean.ravel(), rel=1e-6)
    assert protocol["judged"]["count"] == 300
    for i, name in enumerate(("drawn.npz", "unnamed.npz", "drawn.safetensors")):
        other = evaluated(mezzotint, f"{i}.json", f"images={name}", "reference=real.npy")
        assert other["values"] == found["values"]


def test_data_and_extractors_are_chosen_as_for_images(mezzotint: Any, files: Path) -> None:
    words = ("images=drawn.npy", "data=array", "data.root=real.npy", "extractor=spectral")
    found = evaluated(mezzotint, "a.json", *words, "reference=all", "n=200")
    assert [*found["values"]] == ["fd_spectral_200"]
    assert found["protocol"]["reference"]["count"] == 500
    own = ("extractor=module", "extractor.module._target_=torch.nn.Flatten")
    module, raw = (
        evaluated(mezzotint, f"{i}.json", "images=drawn.npy", "reference=real.npy", *words)["values"].values()
        for i, words in enumerate((own, ("extractor=raw",)))
    )
    assert [*module] == pytest.approx([*raw])
    stated = ("codec=standardize", "codec.mean=[0,0]", "codec.std=[1,1]", "codec.stored=float32")
    unscaled = evaluated(mezzotint, "c.json", "images=drawn.npy", "reference=real.npy", *stated)
    assert next(iter(unscaled["values"].values())) > 100


def test_statistics_serve_with_the_codec_that_they_were_computed_with(mezzotint: Any, files: Path) -> None:
    stated = ("codec=standardize", "codec.mean=[300,300]", "codec.std=[20,20]", "codec.stored=float32")
    made = mezzotint("stats", "reference=real.npy", "extractor=raw", *stated, *QUICK, "out=real.npz")
    assert made.code == 0, made.err
    assert "500 series" in made.out
    words = ("images=drawn.npy", "extractor=raw")
    by_file = evaluated(mezzotint, "a.json", *words, "reference=real.npz", *stated)
    direct = evaluated(mezzotint, "b.json", *words, "reference=real.npy", *stated)
    assert [*by_file["values"].values()] == pytest.approx([*direct["values"].values()], rel=1e-6)
    done = mezzotint("evaluate", *words, "reference=real.npz", *QUICK)
    assert done.code == 2
    assert "the features depend on the codec: give codec=standardize" in done.err


REFUSED = {
    "longer": (lambda x: np.concatenate([x, x], -1), "examples have shape [2, 12] and the reference [2, 6]"),
    "channels": (lambda x: x[:, :1], "examples have shape [1, 6] and the reference [2, 6]"),
    "half": (lambda x: x.astype(np.float16), "holds float16, and the reference float32: convert it"),
    "double": (lambda x: x.astype(np.float64), "holds float64"),
    "nan": (lambda x: np.where(x == x[3, 1, 2], np.nan, x), "entry 3, channel 1 holds nan"),
    "objects": (lambda x: x.astype(object), "holds Python objects, which are not read"),
    "flat": (lambda x: x[:, 0], "has shape [300, 6]: store (N, C, length)"),
    "empty": (lambda x: x[:0], "has shape [0, 2, 6]: store (N, C, length)"),
    "channels last": (lambda x: np.zeros((9, 8, 8, 3), np.uint8), "as images with their channels last"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_samples_that_cannot_be_compared_are_refused_in_one_line(mezzotint: Any, files: Path, case: str) -> None:
    change, said = REFUSED[case]
    np.save("bad.npy", change(np.load("drawn.npy")), allow_pickle=True)
    done = mezzotint("evaluate", "images=bad.npy", "reference=real.npy", *QUICK)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize("words", [("n=301",), ("extractor=inception",), ("data=eeg", "reference=test")])
def test_requests_that_do_not_fit_arrays_are_refused(mezzotint: Any, files: Path, words: tuple[str, ...]) -> None:
    done = mezzotint("evaluate", "images=drawn.npy", "reference=real.npy", *QUICK, *words)
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1


def test_the_samples_of_a_run_are_compared_with_an_array(mezzotint: Any, files: Path) -> None:
    words = (
        "data=array",
        "data.root=real.npy",
        "debug=tiny",
        "callbacks=minimal",
        "network=mlp",
        "metrics=[]",
        "name=a",
    )
    assert mezzotint("train", *words, "hardware=cpu").code == 0
    done = mezzotint("evaluate", "run=runs/a", "reference=drawn.npy", "n=8", "metrics=[fid]")
    assert done.code == 0, done.err
    assert "8 samples against 300 real ones (drawn.npy)" in done.out
    np.save("other.npy", np.zeros((9, 2, 7), np.float32))
    done = mezzotint("evaluate", "run=runs/a", "reference=other.npy", "n=8", "metrics=[fid]")
    assert done.code == 2
    assert "examples have shape [2, 7] and the samples [2, 6]" in done.err
