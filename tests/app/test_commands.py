"""train, sample, evaluate, runs: from one config to pictures and numbers, and from a run to more of them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import mezzotint as package
from mezzotint.app.commands import train
from mezzotint.app.launch import ranks
from mezzotint.app.results import resume
from mezzotint.errors import TrainingError

from .conftest import TINY, Command


def status(directory: Path) -> dict:
    return json.loads((directory / "status.json").read_text())


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image)


def test_a_run_has_everything_that_its_layout_promises(mezzotint: Command, home: Path) -> None:
    done, trained = mezzotint("train", *TINY, "name=a"), home / "runs" / "a"
    assert (done.code, done.out.splitlines()[0], done.out.splitlines()[-1]) == (0, "run: runs/a", "run: runs/a")
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["network"]["shape"] == [1, 8, 8]
    assert "${" not in (trained / "config.yaml").read_text()
    assert status(trained).items() >= {"state": "finished", "images": 64, "steps": 4, "error": None}.items()
    assert [json.loads(line)["step"] for line in (trained / "metrics.jsonl").read_text().splitlines()][-1] == 4
    (evaluation,) = (trained / "evaluation").glob("*.json")
    found = json.loads(evaluation.read_text())
    assert list(found["values"]) == ["fd_digits_16", "kd_digits_16", "halves_digits_1797"]
    assert found["protocol"].items() >= {"n": 16, "calls": 4.0, "weights": "ema", "step": 4}.items()
    assert found["protocol"]["reference"]["count"] == 1797
    assert status(trained)["objective"] == found["values"]["fd_digits_16"]
    assert status(trained)["measure"] == {"name": "fd_digits_16", "higher_is_better": False}
    (halves,) = [line for line in done.out.splitlines() if line.startswith("halves_digits_1797")]
    assert halves.rstrip().endswith(f"{found['values']['halves_digits_1797']:.4g} (898 against 899 examples)")
    assert sorted(path.suffix for path in (trained / "samples").iterdir()) == [".gif", ".png", ".png"]
    assert (trained.parent / "latest").resolve() == trained

    # again: it says so and does nothing, and hands the sweeper the same number
    before = (trained / "status.json").stat().st_mtime_ns
    again = mezzotint("train", *TINY, "name=a")
    assert (again.code, again.out) == (0, "runs/a is finished; nothing to do\n")
    assert (trained / "status.json").stat().st_mtime_ns == before

    # the name is taken by another config
    other = mezzotint("train", *TINY, "name=a", "seed=1")
    assert other.code == 2
    assert "holds another run: it differs in seed" in other.err

    table = mezzotint("runs").out
    assert "finished" in table
    assert "64 of 64" in table


def test_sample_draws_with_any_sampler_and_says_where(trained: Path, mezzotint: Command) -> None:
    (trained / "samples").rename(trained / "old")
    done = mezzotint("sample", "run=runs/a", "sampler=heun", "grid=karras", "grid.steps=3", "n=5", "save=png")
    paths = [Path(line) for line in done.out.splitlines()]
    assert done.code == 0
    assert all(path.exists() and path.name.startswith("heun-karras-3-seed0-") for path in paths)
    assert [path.suffix for path in paths] == [".png", ".png", ".gif", ""]
    files = sorted(paths[-1].iterdir())
    assert [file.name for file in files] == [f"{number:06d}.png" for number in range(5)]
    drawn = np.stack([pixels(file) for file in files])
    assert drawn.shape == (5, 8, 8)

    stored = mezzotint("sample", "run=runs/latest", "sampler=heun", "grid=karras", "grid.steps=3", "n=5", "save=npz")
    with np.load(stored.out.splitlines()[-1]) as arrays:
        assert arrays["labels"].tolist() == [0, 1, 2, 3, 4]
        assert np.array_equal(arrays["images"][..., 0], drawn)


def test_group_replaces_group_and_key_edits_value(trained: Path, mezzotint: Command) -> None:
    """Neither leftovers of the old choice nor the defaults of a command."""
    done = mezzotint("train", "run=runs/a", "sampler=ddpm", "grid.steps=7", "--cfg", "job")
    config = yaml.safe_load(done.out)
    assert set(config["sampler"]) == {"_target_", "variance"}
    assert config["grid"]["steps"] == 7
    assert config["network"]["width"] == 8
    assert config["run"] == "runs/a"


def test_evaluate_writes_one_file_a_protocol_and_finds_it_again(trained: Path, mezzotint: Command) -> None:
    words = ["evaluate", "run=runs/a", "n=20", "-m", "grid.steps=2,3"]
    before = set((trained / "evaluation").glob("*.json"))
    assert mezzotint(*words).code == 0
    new = set((trained / "evaluation").glob("*.json")) - before
    assert sorted(json.loads(path.read_text())["protocol"]["calls"] for path in new) == [2.0, 3.0]
    stamps = {path: path.stat().st_mtime_ns for path in new}
    assert mezzotint(*words).code == 0
    assert {path: path.stat().st_mtime_ns for path in set((trained / "evaluation").glob("*.json")) - before} == stamps


def test_weights_are_told_apart(trained: Path, mezzotint: Command) -> None:
    for weights in ("ema", "raw"):
        assert mezzotint("evaluate", "run=runs/a", "n=20", f"weights={weights}").code == 0
    found = [json.loads(path.read_text()) for path in (trained / "evaluation").glob("*-n20-*.json")]
    assert sorted(each["protocol"]["weights"] for each in found) == ["ema", "raw"]
    assert "keeps raw, 0.05" in mezzotint("sample", "run=runs/a", "weights=0.3").err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "run=runs/a", "network.width=16"], "network.width cannot change in a run that is resumed"),
        (["train", "run=runs/a", "seed=1"], "seed cannot change in a run that is resumed"),
        (["train", "run=runs/a", "name=b"], "name cannot change in a run that is resumed"),
        (["train", "-m", "run=runs/a", "budget=80,96"], "-m and run= exclude each other"),
        (["train", "run=runs/a", "experiment=digits_edm"], "experiment= and run= exclude each other"),
        (["sample", "run=runs/a", "target=clean"], "target cannot change after training"),
        (["sample", "run=runs/a", "samplr=ddim"], "no key 'samplr'; did you mean 'sampler'?"),
        (["sample", "run=runs/a", "sampler=dddim"], "sampler=dddim: no such choice; did you mean 'ddim'?"),
        (["sample", "run=runs/a", "guidance=cfg", "guidance.scle=2"], "guidance.scle: CFG has no such argument"),
        (["evaluate", "run=runs/a", "metrics=[]"], "there is nothing to compute"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_a_run_is_cannot_change(words: list[str], said: str, trained: Path, mezzotint: Command) -> None:
    before = sorted(trained.rglob("*"))
    done = mezzotint(*words)
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith(f"mezzotint {words[0]}: {said}")
    assert sorted(trained.rglob("*")) == before


def test_a_finished_run_goes_on_with_a_larger_budget(trained: Path, mezzotint: Command) -> None:
    assert mezzotint("train", "run=runs/a").out == "runs/a is finished; nothing to do\n"
    assert mezzotint("train", "run=runs/a", "budget=96").code == 0
    assert status(trained).items() >= {"state": "finished", "images": 96, "steps": 6}.items()
    assert yaml.safe_load((trained / "config.yaml").read_text())["budget"] == 96


def test_a_failed_run_keeps_its_error_and_goes_on_later(
    mezzotint: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("lost")

    with monkeypatch.context() as patch:
        patch.setattr(train, "conclude", broken)
        done = mezzotint("train", *TINY, "name=a")
    assert done.code == 1
    assert done.err.splitlines()[-1] == "mezzotint train: runs/a failed: ZeroDivisionError: lost"
    assert status(home / "runs/a").items() >= {"state": "failed", "error": "ZeroDivisionError: lost"}.items()
    assert "Traceback" in (home / "runs/a/train.log").read_text()
    assert mezzotint("train", *TINY, "name=a").code == 0
    assert status(home / "runs/a").items() >= {"state": "finished", "error": None}.items()


def test_ctrl_c_is_130_and_the_run_can_go_on(mezzotint: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "conclude", interrupted)
    done = mezzotint("train", *TINY, "name=a")
    assert done.code == 130
    assert "`mezzotint train run=runs/a` resumes it" in done.err
    assert status(home / "runs/a").items() >= {"state": "preempted", "images": 64}.items()


def test_a_sweep_makes_a_run_a_combination_and_skips_the_finished(mezzotint: Command, home: Path) -> None:
    words = ["train", "-m", *TINY, "name=s", "metrics=[]", "schedule=linear,cosine", "target=epsilon,velocity"]
    assert mezzotint(*words).code == 0
    directories = [path for path in (home / "runs/s").iterdir() if path.is_dir()]
    assert [status(path)["state"] for path in directories] == ["finished"] * 4
    configs = [yaml.safe_load((path / "config.yaml").read_text()) for path in directories]
    chosen = {(config["schedule"]["_target_"], config["target"]["_target_"]) for config in configs}
    assert len(chosen) == 4
    again = mezzotint(*words)
    assert again.out.count("is finished; nothing to do") == 4
    assert sorted(path.name for path in home.iterdir()) == ["runs"]
    assert sorted(path.name for path in (home / "runs").iterdir()) == ["latest", "s"]


def test_a_failing_job_of_a_sweep_leaves_the_others_alone(mezzotint: Command, home: Path) -> None:
    done = mezzotint("train", "-m", *TINY, "name=s", "metrics=[]", "network.width=7,8")
    assert done.code == 2
    assert "mezzotint train: network: " in done.err
    runs = [path for path in (home / "runs/s").iterdir() if path.is_dir()]
    assert [status(path)["state"] for path in runs] == ["finished"]


def test_load_gives_the_average_without_hydra_or_lightning(trained: Path) -> None:
    code = (
        "import sys, mezzotint, torch; d = mezzotint.load(sys.argv[1]); "
        "x = mezzotint.sample(d, mezzotint.DDIM(), mezzotint.Trailing(4), torch.randn(2, 1, 8, 8)); "
        "heavy = {'hydra', 'omegaconf', 'lightning', 'torchmetrics'} & set(sys.modules); "
        "print(tuple(x.shape), d.training, sorted(heavy))"
    )
    said = subprocess.check_output([sys.executable, "-c", code, str(trained)], text=True)
    assert said == "(2, 1, 8, 8) False []\n"


def test_load_knows_average_and_raw_weights_and_passes_over_a_damaged_checkpoint(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = trained / "checkpoints" / "step-00000004.ckpt"
    saved = torch.load(newest, weights_only=True)
    for weights, kept in (("raw", saved["state_dict"]), ("ema", next(iter(saved["ema"].values())))):
        loaded = package.load(trained, weights).state_dict()
        for key, value in kept.items():
            torch.testing.assert_close(loaded[key.removeprefix("denoiser.")], value, rtol=0, atol=0)
    newest.write_bytes(newest.read_bytes()[:-100])
    package.load(trained)
    assert "step-00000004.ckpt is damaged" in capsys.readouterr().err


def test_an_earlier_snapshot_of_the_run_guides_it(trained: Path, mezzotint: Command) -> None:
    saved = torch.load(trained / "checkpoints" / "step-00000003.ckpt", weights_only=True)
    loaded = package.load(trained, "raw", checkpoint=3).state_dict()
    for key, value in saved["state_dict"].items():
        torch.testing.assert_close(loaded[key.removeprefix("denoiser.")], value, rtol=0, atol=0)
    words = ("sample", "run=runs/a", "guidance=autoguidance", "guidance.weak.directory=runs/a")
    done = mezzotint(*words, "guidance.weak.checkpoint=3", "n=4")
    assert done.code == 0, done.err
    assert mezzotint("check", "run=runs/a", *words[2:]).code == 0
    refused = mezzotint(*words, "guidance.weak.checkpoint=9", "n=4")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "runs/a keeps the steps 2, 3, 4" in refused.err


def test_guidance_by_label_is_refused_where_there_are_no_labels(mezzotint: Command, home: Path) -> None:
    assert mezzotint("train", *TINY, "name=a", "data.classes=0", "metrics=[]").code == 0
    before = sorted((home / "runs/a/samples").iterdir())
    done = mezzotint("sample", "run=runs/a", "guidance=cfg")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "guidance needs a label" in done.err
    assert sorted((home / "runs/a/samples").iterdir()) == before


# ---------------------------------------------------------------------------------------------------------------- ranks


def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put another program in the place of the worker."""
    script = tmp_path / "worker.py"
    script.write_text(f"import json, os, sys, time\nrank, pipe = int(os.environ['RANK']), int(sys.argv[3])\n{body}")
    start = subprocess.Popen

    def started(command: list[str], **options: object) -> subprocess.Popen:
        return start([sys.executable, str(script), *command[4:]], **options)

    monkeypatch.setattr(ranks.subprocess, "Popen", started)


def test_the_rank_that_failed_first_is_the_one_to_blame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tell = "os.write(pipe, json.dumps({'rank': rank, 'error': words[rank], 'time': -rank}).encode()); sys.exit(1)"
    worker(tmp_path, monkeypatch, f"words = ['connection closed by peer', 'the cause']\n{tell}")
    with pytest.raises(TrainingError, match=r"^rank 1 of 2 failed: the cause$"):
        ranks.start(train.work, tmp_path, 2)


def test_a_killed_rank_is_named_and_the_others_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker(tmp_path, monkeypatch, "os.kill(os.getpid(), 9) if rank else time.sleep(100)")
    with pytest.raises(TrainingError, match="rank 1 of 2 was killed by SIGKILL"):
        ranks.start(train.work, tmp_path, 2)


def test_an_interrupted_rank_ends_a_sweep_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker(tmp_path, monkeypatch, "sys.exit(130)")
    with pytest.raises(KeyboardInterrupt):
        ranks.start(train.work, tmp_path, 2)


def test_what_rank_0_returns_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker(tmp_path, monkeypatch, "os.write(pipe, json.dumps({'rank': rank, 'result': {'rank': rank}}).encode())")
    assert ranks.start(train.work, tmp_path, 2) == {"rank": 0}


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word for it is Linux's")
@pytest.mark.timeout(60)
def test_no_rank_outlives_its_parent(tmp_path: Path) -> None:
    """Killed so that it cannot say goodbye, as a scheduler does."""
    (tmp_path / "child.py").write_text(
        "import os, time\nfrom mezzotint.app.launch.worker import die_with\n"
        "die_with(os.getppid())\nprint(os.getpid(), flush=True)\ntime.sleep(100)\n"
    )
    child = [sys.executable, str(tmp_path / "child.py")]
    body = f"import subprocess, time; subprocess.Popen({child!r}); time.sleep(100)"
    with subprocess.Popen([sys.executable, "-c", body], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert int(parent.stdout.readline()) > 0
        parent.kill()
        parent.wait()
        assert parent.stdout.read() == ""  # the child holds it open as long as it lives


def test_the_likelihood_of_held_out_images_stands_beside_the_distances(trained: Path, mezzotint: Command) -> None:
    words = ["evaluate", "run=runs/a", "n=12", "metrics.nll.steps=10"]
    assert mezzotint(*words, "metrics=[fid,nll]").code == 0
    both, terms = judged(trained, "-n12-"), ("", "_prior", "_diffusion", "_decoder")
    assert list(both["values"]) == ["fd_digits_12", *(f"nll_vlb_12{term}" for term in terms)]
    assert both["errors"].keys() == both["values"].keys() - {"fd_digits_12"}
    settings = {"metric": "NegativeLogLikelihood", "method": "vlb", "count": 12, "split": "test", "steps": 10}
    assert both["protocol"]["metrics"]["nll"].items() >= settings.items()
    assert mezzotint(*words, "metrics=nll", "extractor=inception", "metrics.nll.batch=5", "n=13").code == 0
    alone = judged(trained, "-n13-")
    assert next(iter(alone["values"])) == "nll_vlb_13"
    assert alone["protocol"]["n"] == 0
    assert "fd_digits" in mezzotint("runs").out


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["experiment=digits_flow", "metrics.nll.steps=3"], "nll_ode_5"),
        (["network.learned_variance=true", "loss=hybrid", "metrics.nll.steps=3"], "nll_vlb_5"),
    ],
    ids=lambda words: words[0],
)
def test_training_may_end_with_a_likelihood(words: list[str], name: str, mezzotint: Command, home: Path) -> None:
    done = mezzotint("train", *words, *TINY, "name=b", "metrics=nll", "n=5")
    assert done.code == 0, done.err
    found = judged(home / "runs" / "b", "-n5-")
    assert status(home / "runs" / "b")["objective"] == found["values"][name]
    assert f"+- {found['errors'][name]:.2g}" in done.out


def judged(directory: Path, part: str) -> dict:
    (file,) = (directory / "evaluation").glob(f"*{part}*.json")
    return json.loads(file.read_text())


SELF = ["objective.self_conditioning=0.5", "network.self_conditioning=true", "guidance=self_conditioned"]


def test_self_conditioning_from_training_to_judged_samples(mezzotint: Command, home: Path) -> None:
    done = mezzotint("train", *SELF, *TINY, "name=b", "metrics=[fid,nll]", "n=5", "metrics.nll.steps=3")
    assert done.code == 0, done.err
    found = judged(home / "runs" / "b", "-n5-")
    assert found["protocol"]["calls"] == 4.0
    assert {"fd_digits_5", "nll_vlb_5"} <= found["values"].keys()
    network = package.load(home / "runs" / "b").network
    assert network.first.in_channels == 2
    assert mezzotint("sample", "run=runs/b", "n=4", "guidance=cfg_self_conditioned").code == 0


@pytest.mark.parametrize("left", range(3))
def test_self_conditioning_in_part_is_refused(left: int, mezzotint: Command, home: Path) -> None:
    for words in ([word for i, word in enumerate(SELF) if i != left], [SELF[left]]):
        done = mezzotint("train", *words, *TINY, "name=b")
        assert done.code == 2
        assert "do not fit together" in done.err
    assert not (home / "runs" / "b").exists()


def test_augmentation_is_told_to_a_network_that_listens(mezzotint: Command, home: Path) -> None:
    refused = mezzotint("train", "objective=augmented", *TINY, "name=b")
    assert refused.code == 2
    assert "network: A network built with augmentation=0" in refused.err
    done = mezzotint("train", "objective=augmented", "network.augmentation=9", *TINY, "name=b", "metrics=[]")
    assert done.code == 0, done.err
    assert package.load(home / "runs" / "b").network.embedding.augment.in_features == 9


def test_a_run_goes_on_where_its_data_has_been_moved() -> None:
    paths = {"runs": "/r", "data": "/d", "cache": "/c"}
    before = {"data": {"_target_": "D", "root": "/old/photos", "classes": 2}, "network": {"width": 8}, "paths": paths}
    moved = before | {"data": before["data"] | {"root": "/new/photos"}}
    assert resume.fixed(before) == resume.fixed(moved)
    assert resume.fixed(before) != resume.fixed(before | {"data": before["data"] | {"classes": 0}})


SHORT = ("hardware=cpu", "network.width=8", "grid.steps=2", "n=16", "metrics=[]", "callbacks=minimal", "batch_size=16")


def test_a_short_run_has_a_curve_and_says_what_another_budget_does(mezzotint: Command, home: Path) -> None:
    first = mezzotint("train", *SHORT, "budget=480", "name=a")
    assert "30 steps of 16 images, peak rate 0.00187 after 48 images" in first.out
    run = home / "runs" / "a"
    read = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in read] == list(range(2, 31, 2))
    assert max(line["lr"] for line in read) > 0.8 * 2e-3

    fewer = mezzotint("train", "run=runs/a", "budget=96")
    assert fewer.out == "runs/a is finished; nothing to do: it has seen 480 images, more than budget=96\n"
    planned = mezzotint("check", "run=runs/a", "budget=960").out
    assert "budget=960 after 480: the learning rate goes from 6.7e-05 to 0.001" in " ".join(planned.split())
    assert "nothing is trained" in mezzotint("check", "run=runs/a", "budget=96").out
    assert "the learning rate goes" not in mezzotint("check", "run=runs/a").out
    more = mezzotint("train", "run=runs/a", "budget=960")
    assert more.err.count("the learning rate goes") == 1
    assert more.code == 0
    said = (
        "budget=960 after 480: the learning rate goes from 6.7e-05 to 0.001, since its decay now ends with 960 images"
    )
    assert said in more.err.splitlines()
    assert yaml.safe_load((run / "config.yaml").read_text())["optimizer"]["warmup"] == 48
    read = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in read] == list(range(2, 61, 2))


def test_a_run_of_a_version_without_bounds_is_found_and_keeps_its_warmup(mezzotint: Command, home: Path) -> None:
    old = ("optimizer.warmup=6400", "callbacks.log.every=50", "callbacks.nan_guard.every=50")
    for words in (("name=a",), ("-m", "seed=3")):
        assert mezzotint("train", *SHORT, "budget=96", *old, *words).code == 0
        assert "is finished; nothing to do" in mezzotint("train", *SHORT, "budget=96", *words).out
    other = mezzotint("train", *SHORT, "budget=96", "optimizer.warmup=10", "name=a")
    assert (other.code, "optimizer.warmup" in other.err) == (2, True)


def test_a_warmup_that_is_long_for_its_budget_is_told(mezzotint: Command) -> None:
    said = mezzotint("check", *SHORT, "budget=2000", "optimizer.warmup=6400").out
    assert "of lr=0.002: the warm-up is long for this budget" in said
