"""`mezzotint report`: what the page says of runs in any state, where it lies, how small it stays."""

import base64
import hashlib
import io
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from mezzotint.figures import film_strip, grid
from mezzotint.report import LIMIT, page
from mezzotint.report.curves import decimate, logged, thin
from mezzotint.report.images import SIZE_BUDGETS, RunImages
from mezzotint.runs import RunDir

from ..conftest import Command
from ..synthetic_runs import SIDE, STEPS, config, content, discs, make, make_sweep, pictures


def test_a_page_lies_in_its_run_and_names_all_that_may_run_or_style_it(mezzotint: Command, home: Path) -> None:
    make(home / "runs" / "a")
    done = mezzotint("report", "runs/a")
    assert (done.code, done.out) == (0, "runs/a/report.html\n")
    text = (home / "runs/a/report.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    assert "default-src 'none'; img-src data:;" in policy[1]
    for element in ("style", "script"):
        (inside,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy[1]
    assert re.findall(r"(?:src|href)=\"(?!data:,)", text) == []
    assert not list((home / "runs/a").glob(".report*"))


def test_pages_of_sweeps_and_of_several_runs_lie_above_them(mezzotint: Command, home: Path) -> None:
    make_sweep(home / "runs" / "s")
    make(home / "runs" / "a")
    (home / "runs" / "latest").symlink_to("a")
    assert mezzotint("report", "runs/s").out == "runs/s/report.html\n"
    assert mezzotint("report", "runs/s", "runs/latest", "run=runs/a").out == "runs/report.html\n"
    assert mezzotint("report", "runs/s/cosine0", "out=shown/one.html").out == "shown/one.html\n"
    assert len(content(home / "runs/s/report.html")["runs"]) == 4
    names = [run["name"] for run in content(home / "runs/report.html")["runs"]]
    assert sorted(names) == ["a", "s/cosine0", "s/cosine1", "s/linear0", "s/linear1"]
    assert mezzotint("report", "runs").out == "runs/report.html\n"
    assert len(content(home / "runs/report.html")["runs"]) == 5


def test_any_sign_may_stand_in_a_name(mezzotint: Command, home: Path) -> None:
    make(home / "lr=0.1" / "{{content}} {{script}} é&")
    done = mezzotint("report", "lr=0.1/{{content}} {{script}} é&", "out=a.html")
    assert (done.code, done.out) == (0, "a.html\n"), done.err
    assert mezzotint("report", "lr=0.1").out == "lr=0.1/report.html\n"
    assert content(home / "a.html")["title"] == "{{content}} {{script}} é&"
    assert "<title>{{content}} {{script}} &#233;&amp;</title>" in (home / "a.html").read_text()


def test_the_page_is_utf8_where_the_locale_is_not(process: Command, home: Path) -> None:
    make(home / "a")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = process("report", "a", env={**os.environ, **plain})
    assert (done.code, done.out) == (0, "a/report.html\n"), done.err
    assert "\u25b6" in (home / "a/report.html").read_text(encoding="utf-8")


def test_only_what_differs_is_compared_and_seeds_are_one_group(mezzotint: Command, home: Path) -> None:
    make_sweep(home / "s")
    mezzotint("report", "s")
    found = content(home / "s/report.html")
    assert sorted(found["keys"]) == ["schedule", "seed"]
    runs = {run["name"]: run for run in found["runs"]}
    assert runs["cosine0"]["group"] == runs["cosine1"]["group"] != runs["linear0"]["group"]
    assert len({one["key"] for run in runs.values() for one in run["evaluations"]}) == 2 * 3
    assert [metric["name"] for metric in found["metrics"]] == ["fd_made_1000", "precision_made_1000"]
    assert [metric["higher"] for metric in found["metrics"]] == [False, True]
    for run in runs.values():  # each config stands as what it changes in the first
        whole = {key: value for key, value in (found["config"] | run["config"]).items() if value is not None}
        assert whole["schedule._target_"] == f"mezzotint.diffusion.{run['name'][:-1].title()}Schedule"
        assert whole["seed"] == run["name"][-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which runs?"),
        (["nowhere"], "nowhere is not a folder"),
        (["."], ". holds no runs"),
        (["a", "out=page.txt"], "out=page.txt: give a file name that ends in .html"),
        (["a", "colour=red"], "colour=red: give folders of runs"),
        (["-x"], "-x: give folders of runs"),
    ],
)
def test_a_fault_is_one_line_and_nothing_is_written(
    words: list[str], said: str, mezzotint: Command, home: Path
) -> None:
    done = mezzotint("report", *words)
    assert done.code == 2
    assert done.err.startswith(f"mezzotint report: {said}")
    assert len(done.err.splitlines()) == 1
    assert list(home.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused_with_what_to_do(mezzotint: Command, home: Path) -> None:
    make(home / "a")
    done = mezzotint("report", "a", "out=a/config.yaml/page.html")
    assert (done.code, done.out) == (2, "")
    assert done.err == "mezzotint report: a/config.yaml cannot be written; name a file elsewhere: out=FILE\n"


def test_a_run_in_any_state_has_a_page(mezzotint: Command, home: Path) -> None:
    going = make(home / "s" / "going", state="running", images=None)
    for name in ("evaluation", "samples"):
        for file in (going / name).iterdir():
            file.unlink()
    with open(going / "metrics.jsonl", "a") as file:
        file.write('{"step": 13, "images": 832, "lo')  # being written
    failed = make(home / "s" / "failed", state="failed", error="TrainingError: the loss is nan at step 7")
    (failed / "metrics.jsonl").write_text('{"step": 1, "images": 64, "loss": NaN}\n{"step": 2, "images": 128}\n')
    (failed / "evaluation" / "cut.json").write_text('{"values": ')
    (failed / "samples" / "step-00000003.png").write_bytes(b"\x89PNG cut")
    young = home / "s" / "young"
    young.mkdir()
    (young / "config.yaml").write_text(yaml.safe_dump(config(young, 0, "CosineSchedule")))
    other = home / "s" / "other"  # of another program
    other.mkdir()
    (other / "config.yaml").write_text("data: [1]\nmetrics: 5\npaths: null\n")
    broken = home / "s" / "broken"
    broken.mkdir()
    (broken / "config.yaml").write_text("a: [")
    done = mezzotint("report", "s")
    assert done.code == 0
    assert done.out.splitlines() == [
        "left out: 2 runs without a readable config.yaml",
        "left out: 1 evaluations that cannot be read",
        "s/report.html",
    ]
    runs = {run["name"]: run for run in content(home / "s/report.html")["runs"]}
    assert {name: run["state"] for name, run in runs.items()} == {
        "going": "interrupted",  # no process holds it
        "failed": "failed",
        "young": "unknown",
        "other": "damaged",
        "broken": "damaged",
    }
    assert "config.yaml cannot be read: it is not YAML" in runs["broken"]["error"]
    assert runs["going"]["curves"]["loss"]["of"] == STEPS
    assert runs["failed"]["error"] == "TrainingError: the loss is nan at step 7"
    assert "loss" not in runs["failed"]["curves"]
    assert [preview["step"] for preview in runs["failed"]["previews"]] == [6, 9, 12]
    assert runs["failed"]["left_out"] == ["3 of 4 grids of the training"]
    assert runs["young"]["curves"] == {}


@pytest.mark.parametrize("seconds", [None, 60.0], ids=["first", "again"])
def test_times_left_come_from_what_is_done(seconds: float | None, mezzotint: Command, home: Path) -> None:
    """Of a run that goes on after its end, status.json says how long it had taken by then."""
    directory = make(home / "a", state="running", budget=64 * 2 * STEPS, seconds=seconds)
    with RunDir(directory).lock():
        mezzotint("report", "a")
    (run,) = content(home / "a/report.html")["runs"]
    assert (run["state"], run["images"], run["seconds"]) == ("running", 64 * STEPS, 120.0)
    assert run["left"] == pytest.approx(120.0)


def test_a_page_stays_small_and_says_what_it_leaves_out(
    mezzotint: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_sweep(home / "s")
    file = home / "s/report.html"
    mezzotint("report", "s")
    whole = file.stat().st_size
    assert [what for run in content(file)["runs"] for what in run["left_out"]] == []
    shown = [one for run in content(file)["runs"] for one in (*run["previews"], *(two["film"] for two in run["drawn"]))]
    size = sum(len(picture["src"]) for picture in shown)
    words = content(file)
    words["runs"] = [run | {"previews": [], "drawn": [], "left_out": []} for run in words["runs"]]
    for share in (0.3, 0.6, 0.9):
        monkeypatch.setattr(page, "LIMIT", whole - int(share * size))
        assert mezzotint("report", "s").code == 0
        assert file.stat().st_size <= page.LIMIT
        assert all(run["left_out"] for run in content(file)["runs"][:1])
    for room, said in (
        (len(page.dump(words)), r"left out: of longer curves all but \d points\n"),
        (6_000, r"left out: \d of 4 runs\n"),
    ):
        monkeypatch.setattr(page, "WORDS", room)
        assert re.match(said, mezzotint("report", "s").out)


def test_of_very_many_evaluations_the_newest_are_kept_rather_than_runs_left_out(
    mezzotint: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make(home / "a")
    one = json.loads((directory / "evaluation" / "DDIM-10.json").read_text())
    for i in range(100):
        one["protocol"]["date"] = f"2026-02-01T00:00:{i:02d}"
        (directory / "evaluation" / f"{i}.json").write_text(json.dumps(one))
    for room, newest in ((20_000, 20), (1_000, 20)):
        monkeypatch.setattr(page, "WORDS", room)
        said = mezzotint("report", "a").out
        assert f"left out: of more evaluations of a run all but the newest {newest}\n" in said
        (run,) = content(home / "a/report.html")["runs"]
        assert [row["name"] for row in run["evaluations"]] == [str(i) for i in range(100 - newest, 100)]


def test_a_long_run_is_small_by_default(mezzotint: Command, home: Path) -> None:
    directory = make(home / "a")
    many = 20_000
    with open(directory / "metrics.jsonl", "w") as file:
        for step in range(1, many + 1):
            loss = 9.0 if step == 12_345 else 0.3 + 0.1 * math.sin(step)
            line: dict[str, Any] = {"step": step, "images": 64 * step, "loss": loss, "grad_norm": loss, "lr": 1e-4}
            if step % 15 == 0:
                line["validation"] = {"loss": loss, "share_0": loss}
            file.write(json.dumps(line) + "\n")
    mezzotint("report", "a")
    (run,) = content(home / "a/report.html")["runs"]
    for name, of in (("loss", many), ("validation", many // 15)):
        curve = run["curves"][name]
        assert len(curve["x"]) == len(curve["y"]) <= 400
        assert (curve["of"], max(curve["y"])) == (of, 9.0)
    assert len(run["curves"]["levels"]["y"]) <= 50
    assert (home / "a/report.html").stat().st_size < LIMIT / 20


@pytest.mark.parametrize("count", [0, 1, 2, 5, 100, 1001])
@pytest.mark.parametrize("points", [2, 10, 100])
def test_thinned_curves_keep_their_ends_and_extremes(count: int, points: int) -> None:
    pairs = [(i, math.sin(i * i)) for i in range(count)]
    kept = decimate(pairs, points)
    assert len(kept) <= max(points, 4)
    assert kept == sorted(set(kept))
    assert set(kept) <= set(pairs)
    if count:
        assert (kept[0], kept[-1]) == (pairs[0], pairs[-1])
        values = [y for _, y in pairs]
        assert {max(values), min(values)} <= {y for _, y in kept}
    assert len(thin(pairs, points)) == min(count, points)


def test_lines_that_are_no_lines_are_passed_over(tmp_path: Path) -> None:
    assert logged(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_text('\n[1]\n"images"\n{"step": 1}\n{"images": NaN}\n{"images": 3}\n{"images"')
    assert logged(tmp_path) == [{"images": 3}]


def test_each_size_budget_is_smaller_and_keeps_first_and_last(tmp_path: Path) -> None:
    pictures(tmp_path, previews=30)
    images = RunImages(tmp_path, (1, SIDE, SIDE), 64)
    sizes = [images.select(budget).size for budget in SIZE_BUDGETS]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 100  # no picture, in words
    few = images.select(SIZE_BUDGETS[2])
    assert [few.previews[0]["step"], few.previews[-1]["step"]] == [3, 90]
    assert "6 of 30 grids of the training" in few.left_out


def test_sheets_hold_the_pixels_that_were_drawn(tmp_path: Path) -> None:
    pictures(tmp_path)
    shown, level = RunImages(tmp_path, (1, SIDE, SIDE), 64).fit(LIMIT)
    assert (level, shown.left_out) == (0, [])
    last, film = shown.previews[-1], shown.drawn[0]["film"]
    assert (last["rows"], last["columns"], last["images"]) == (4, 4, 64 * 12)
    assert (film["rows"], film["columns"]) == (8, 10)
    assert film["noise"] == pytest.approx([1 - i / 9 for i in range(10)], abs=1e-4)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(last["src"]))).convert("L"))
    assert sheet.shape == (4 * SIDE, 4 * SIDE)
    assert (sheet[:SIDE, :SIDE] == discs(5, 0.0)[0, 0].numpy()).all()
    assert shown.drawn[0]["grid"]["count"] == 20


def test_pictures_of_unknown_layout_are_shown_as_they_are(tmp_path: Path) -> None:
    pictures(tmp_path)
    shown, _ = RunImages(tmp_path, (3, 50, 70), 64).fit(LIMIT)
    assert {(one["rows"], one["columns"]) for one in shown.previews} == {(1, 1)}


def test_large_images_keep_their_size_where_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    noise = torch.randint(256, (4, 3, 100, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    grid(noise).save(tmp_path / "samples" / "step-00000003.png")
    images = RunImages(tmp_path, (3, 100, 128), 64)
    ((one,), (few,)) = (images.fit(limit)[0].previews for limit in (LIMIT, 20_000))
    assert (one["height"], one["width"]) == (100, 128)
    assert few["width"] < 128


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 2), (1, 7, 3), (2, 24, 6200)], ids=str)
def test_images_of_any_shape_have_a_sheet_even_one_that_is_too_long_for_a_picture(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    (tmp_path / "samples").mkdir()
    grid(torch.zeros(3, *shape, dtype=torch.uint8), columns=3).save(tmp_path / "samples" / "step-00000001.png")
    (one,) = RunImages(tmp_path, shape, 64).fit(LIMIT)[0].previews
    assert (one["height"], one["width"]) == shape[1:]
    assert one["columns"] == min(3, 16383 // shape[2])
    size = Image.open(io.BytesIO(base64.b64decode(one["src"]))).size
    assert size == (one["columns"] * shape[2], shape[1])


def test_white_frames_are_of_a_film_too(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    frames = torch.zeros(24, 8, 1, 8, 8, dtype=torch.uint8)  # more images than a grid may hold, and all shown
    grid(frames[0]).save(tmp_path / "samples" / "a.png")
    film_strip(frames, frames + 255).save(tmp_path / "samples" / "a-film.png")
    shown, _ = RunImages(tmp_path, (1, 8, 8), 64).fit(LIMIT)
    assert shown.drawn[0]["film"]["count"] == 24 * 16
    assert shown.left_out == []


def test_an_image_set_takes_no_more_of_the_page_than_it_says(tmp_path: Path) -> None:
    pictures(tmp_path, previews=30)
    images = RunImages(tmp_path, (1, SIDE, SIDE), 64)
    for budget in SIZE_BUDGETS:
        shown = images.select(budget)
        content = page.dump({"previews": shown.previews, "drawn": shown.drawn, "left_out": shown.left_out})
        assert len(content) - 50 <= shown.size <= len(content) + 5_000
