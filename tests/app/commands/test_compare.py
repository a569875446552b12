"""Evaluations that may be ranked, those that must not be, and the table and plot of a sweep; all from written files."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from mezzotint.app.results.evaluations import choice
from mezzotint.app.results.sweep_summary import summarise

from ..conftest import Command

HASH = "ab" * 32


def evaluation(path: Path, value: float, steps: int = 5, seed: int = 0, **more: Any) -> Path:
    """A file as `evaluate` writes it; `more` is laid over its protocol."""
    protocol = {
        "n": 500,
        "reference": {"count": 1797, "sha256": HASH, "split": "all"},
        "extractors": [{"name": "digits", "sha256": "cd" * 32, "features": 64, "resize": "none"}],
        "metrics": {
            "frechet": {
                "metric": "FrechetDistance",
                "extractor": "digits",
                "values": ["fd_digits_500"],
                "higher_is_better": False,
            }
        },
        "versions": {"torch": "2"},
        "seconds": 1.0,
        "run": "a",
        "step": 10,
        "weights": "ema",
        "seeds": [seed],
        "labels": "none",
        "precision": "float32",
        "format": "uint8, rounded, uncompressed",
        "sampler": {"_target_": "mezzotint.diffusion.DDIM", "eta": 0.0},
        "grid": {"_target_": "mezzotint.diffusion.Trailing", "steps": steps},
        "guidance": None,
        "calls": float(steps),
    } | more
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {"values": {"fd_digits_500": value}, "errors": {}, "notes": [], "protocol": protocol}
    path.write_text(json.dumps(found))
    return path


def with_error(path: Path, error: float) -> None:
    found = json.loads(path.read_text())
    found["values"]["fd_digits_500_std"] = error
    path.write_text(json.dumps(found))


def ranked(text: str) -> list[list[str]]:
    """The words of each row."""
    rows = [line.split() for line in text.splitlines()]
    return [row for row in rows if row[:1] in (["1"], ["2"]) and row[1:2] != ["and"]]


def test_two_files_are_ranked_with_what_tells_them_apart(mezzotint: Command, home: Path) -> None:
    evaluation(home / "a.json", 2.0, run="one")
    evaluation(home / "b.json", 1.0, run="two", guidance={"_target_": "mezzotint.diffusion.CFG", "scale": 3.0})
    done = mezzotint("compare", "a.json", "b.json")
    assert done.code == 0, done.err
    first, second = ranked(done.out)
    assert first[:4] == ["1", "two", "cfg", "scale=3.0"]
    assert second[:2] == ["2", "one"]
    assert "steps" not in done.out
    assert "ranked by fd_digits_500, lower is better" in done.out
    assert done.out.splitlines()[-1].startswith("no errors are known")


def test_what_a_run_draws_is_ranked_with_images_that_were_stored_without_loss(mezzotint: Command, home: Path) -> None:
    evaluation(home / "a.json", 2.0)
    evaluation(home / "b.json", 1.0, format=None, judged={"folder": "b", "format": "png"})
    assert mezzotint("compare", "a.json", "b.json").code == 0


@pytest.mark.parametrize(
    ("errors", "within"),
    [((0.3, 0.4), True), ((0.2, 0.4), True), ((0.2, 0.2), False)],
    ids=["large", "on edge", "small"],
)
def test_a_difference_within_two_standard_errors_is_told(
    errors: tuple[float, float], within: bool, mezzotint: Command, home: Path
) -> None:
    """2 sqrt(0.2^2 + 0.4^2) = 0.894 and 2 sqrt(0.2^2 + 0.2^2) = 0.566, of a difference of 0.8."""
    for name, value, error in zip("ab", (1.0, 1.8), errors, strict=True):
        with_error(evaluation(home / f"{name}.json", value, run=name), error)
    done = mezzotint("compare", "a.json", "b.json")
    assert "(bootstrap)" in done.out
    assert ("1 and 2 differ by 0.8, within their errors" in done.out) == within


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"n": 400}, "n: 500 (a.json), 400 (b.json)"),
        ({"reference": {"count": 1797, "sha256": "ef" * 32}}, "reference.sha256: abababababab (a.json), efefefefefef"),
        (
            {"extractors": [{"name": "digits", "sha256": "cd" * 32, "features": 64, "resize": "bicubic"}]},
            "extractor=digits: resize: none (a.json), bicubic (b.json)",
        ),
        (
            {"extractors": [{"name": "digits", "sha256": "00" * 32, "features": 64, "resize": "none"}]},
            "extractor=digits: sha256: cdcdcdcdcdcd (a.json), 000000000000 (b.json)",
        ),
        ({"precision": "bf16"}, "precision: float32 (a.json), bf16 (b.json)"),
        ({"judged": {"format": "jpg"}, "format": None}, "format: lossless (a.json), jpg (b.json)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_other_protocols_are_refused(more: dict, said: str, mezzotint: Command, home: Path) -> None:
    evaluation(home / "a.json", 2.0)
    evaluation(home / "b.json", 1.0, **more)
    done = mezzotint("compare", "a.json", "b.json")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[0].endswith("these values cannot be ranked because their protocols differ:")
    assert said in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.json"], "what should be compared? Give two or more"),
        (["a.json", "nothing.json"], "there is no nothing.json"),
        (["a.json", "config.yaml"], "config.yaml is not an evaluation"),
        (["a.json", "list.json"], "list.json is not an evaluation"),
        (["a.json", "empty"], "empty has no evaluations yet"),
        (["a.json", "n=5"], "n=5: compare only takes runs and evaluation files"),
        ([], "what should be compared?"),
    ],
    ids=str,
)
def test_bad_input_is_one_line(words: list[str], said: str, mezzotint: Command, home: Path) -> None:
    evaluation(home / "a.json", 2.0)
    (home / "config.yaml").write_text("n: 5\n")
    (home / "list.json").write_text("[1, 2]")
    (home / "empty").mkdir()
    done = mezzotint("compare", *words)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err


def test_runs_are_compared_by_the_protocols_that_both_have(mezzotint: Command, home: Path) -> None:
    for run, value in (("a", 2.0), ("b", 1.0)):
        evaluation(home / run / "evaluation" / "x.json", value, run=run)
    evaluation(home / "a" / "evaluation" / "y.json", 0.5, n=9)  # only one of them has it
    done = mezzotint("compare", "a", "b")
    assert done.code == 0
    assert done.out.count("ranked by") == 1
    assert "n=500" in done.out


def test_seeds_of_one_question_are_one_row_with_its_deviation(mezzotint: Command, home: Path) -> None:
    for seed, value in enumerate((1.0, 2.0, 3.0)):
        evaluation(home / "a" / "evaluation" / f"{seed}.json", value, seed=seed)
    evaluation(home / "a" / "evaluation" / "other.json", 9.0, steps=7)
    done = mezzotint("compare", "a")
    assert "2.0 +- 1.0 (3 seeds)" in done.out
    assert "ddim" not in done.out  # the sampler is the same and no column


# ----------------------------------------------------------------------------------------------------- table of a sweep


def table(folder: Path) -> list[dict[str, str]]:
    (file,) = folder.glob("*.csv")
    with open(file) as opened:
        return list(csv.DictReader(opened))


def test_a_sweep_ends_with_table_and_plot_of_all_that_matches(tmp_path: Path) -> None:
    folder = tmp_path / "evaluation"
    heun = {
        "_target_": "mezzotint.diffusion.Heun",
        "coordinate": {"_target_": "mezzotint.diffusion.FlowCoordinate"},
    }
    first = evaluation(folder / "a.json", 3.0, steps=5)
    files = summarise([first])
    assert [file.suffix for file in files] == [".md", ".csv", ".png", ".svg"]
    assert [row["steps"] for row in table(folder)] == ["5"]

    second = evaluation(folder / "b.json", 1.0, steps=20, seed=0)
    evaluation(folder / "c.json", 2.0, steps=20, seed=1)
    third = evaluation(folder / "d.json", 4.0, steps=5, sampler=heun, calls=9.0)
    evaluation(folder / "e.json", 0.1, n=9)  # another protocol
    evaluation(folder / "f.json", 0.1, step=5)  # an earlier checkpoint
    assert summarise([second, third]) == files  # a wider sweep, with the same name
    rows = table(folder)
    assert [(row["sampler"], row["calls"], row["fd_digits_500"], row["front"]) for row in rows] == [
        ("ddim", "5.0", "3.0", "1"),
        ("ddim", "20.0", "1.5", "1"),
        ("heun", "9.0", "4.0", "0"),
    ]
    assert float(rows[1]["fd_digits_500_error"]) == pytest.approx(0.5**0.5)
    text = files[0].read_text()
    assert "| ddim | 20 | 20 | 1.50 +- 0.71 (2 seeds) | * |" in text
    assert f"]({files[2].name})" in text
    assert not [file for file in folder.iterdir() if file.name.startswith(".")]


def test_two_protocols_in_a_sweep_give_two_tables(tmp_path: Path) -> None:
    folder = tmp_path / "evaluation"
    files = summarise([evaluation(folder / "a.json", 3.0), evaluation(folder / "b.json", 3.0, n=9)])
    assert len(set(files)) == 8


def test_without_network_calls_there_is_a_table_and_no_plot(tmp_path: Path) -> None:
    files = summarise([evaluation(tmp_path / "evaluation" / "a.json", 3.0, calls=0.0)])
    assert [file.suffix for file in files] == [".md", ".csv"]


def test_choices_are_called_as_a_user_types_them() -> None:
    multistep = {"_target_": "mezzotint.diffusion.DPMSolverPP", "points": 2, "eta": 0.0}
    assert choice("sampler", multistep) == "dpmpp_2m"
    assert choice("sampler", multistep | {"eta": 1.0, "points": 3}) == "dpmpp_2m_sde points=3"
    assert choice("grid", {"_target_": "mezzotint.diffusion.Trailing", "steps": 7}) == "trailing"
    assert choice("sampler", {"_target_": "mine.Own", "heat": 2}) == "Own heat=2"


def test_runs_of_one_name_in_two_places_are_two(mezzotint: Command, home: Path) -> None:
    for place, value in (("x", 2.0), ("y", 1.0)):
        evaluation(home / place / "a" / "evaluation" / "0.json", value)
    done = mezzotint("compare", "x/a", "y/a")
    assert [row[1] for row in ranked(done.out)] == ["y/a", "x/a"]


def test_a_run_without_evaluations_is_told_without_a_word_of_its_other_files(mezzotint: Command, home: Path) -> None:
    (home / "a").mkdir()
    for name in ("config.yaml", "status.json"):
        (home / "a" / name).write_text("{}")
    done = mezzotint("compare", "a", "a")
    assert (done.code, done.out) == (2, "")
    assert "a has no evaluations yet: mezzotint evaluate run=a" in done.err
