"""The README is true: every command in it runs, and its Python too."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [line.partition("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
THREADS = "hardware.threads=1"
SMALLER = (THREADS, "debug=tiny", "callbacks.validation.images=16", "callbacks.preview.images=4")
FEWER = {"sample": ["n=4"], "evaluate": ["n=16"], "callbacks=sample_metrics": ["callbacks.sample_metrics.n=16"]}

# One process for them all, so that torch and Lightning are imported once; each command starts from its words alone.
DRIVER = """
import json, sys
from mezzotint.app.cli import main
for words in json.loads(sys.argv[1]):
    print("+ mezzotint", *words, flush=True)
    code = main(words)
    if code:
        sys.exit(f"mezzotint {' '.join(words)} ended with {code}")
"""


def smaller(words: list[str]) -> list[str]:
    """The same command, over in a second or two."""
    if "--help" in words or words[0] in ("check", "runs", "report"):
        return words
    fewer = [little for word in words for little in FEWER.get(word, [])]
    kept = [word for word in words if not word.startswith(("budget=", "n="))]
    return [*kept, *fewer, *([THREADS] if any(word.startswith("run=") for word in words) else SMALLER)]


def run(code: str, *words: str, folder: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A folder with what the README's commands speak of: photos, series, and a network of the reader's own."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / "photos" / f"{number}.png")
    np.save(folder / "waves.npy", np.random.default_rng(0).normal(size=(64, 2, 16)).astype(np.float32))
    (folder / "mine.py").write_text("from mezzotint.networks import MLP\n\n\nclass Mine(MLP):\n    pass\n")
    (folder / "my_configs" / "network").mkdir(parents=True)
    text = "_target_: mine.Mine\nshape: ${data.shape}\nclasses: ${data.classes}\nwidth: 16\nlayers: 1\n"
    (folder / "my_configs" / "network" / "mine.yaml").write_text(text)
    return folder


def test_every_command_runs(project):
    """In the order in which a reader meets them; the one for a cluster is checked, not submitted."""
    jobs = []
    for command in COMMANDS:
        words = command.split()
        if words[0] == "srun":
            words = ["mezzotint", "check", "data=digits", "network=unet", *words[words.index("train") + 1 :]]
            words = [word for word in words if not word.startswith(("experiment=", "hardware="))]
        if words[:3] == ["python", "-m", "mezzotint"]:
            words = words[2:]
        if words[0] == "mezzotint":
            jobs.append(smaller(words[1:]))
    assert len(jobs) > 12, "the README lost its commands"
    out = run(DRIVER, json.dumps(jobs), folder=project)
    assert out.count("+ mezzotint") == len(jobs)
    assert len(list((project / "runs").rglob("config.yaml"))) >= 8
    digits = min((project / "runs").glob("digits_ddpm-*"), key=lambda run: (run / "config.yaml").stat().st_mtime)
    python = "\n".join(blocks("python")) + "\nprint(tuple(x.shape))"
    newest = python.replace('load("runs/latest")', 'load("runs/latest", allow=["mine"])')  # of the reader's own class
    assert "(16, " in run(newest, folder=project), "the newest run, whatever it is"
    assert "(16, 1, 8, 8)" in run(python.replace("runs/latest", f"runs/{digits.name}"), folder=project)


def test_a_run_is_the_newest_until_it_is_looked_at():
    """What takes longer than the digits, or is another run, comes behind the commands that mean the digits."""
    (start,) = [block for block in blocks("bash") if "experiment=emoji_ddpm" in block]
    assert start.index("run=runs/latest") < start.index("experiment=emoji_ddpm")
    assert not re.search(r"run=runs/latest", start[start.index("experiment=emoji_ddpm") :])


def test_the_make_targets_exist():
    targets = [words.split()[1] for words in COMMANDS if words.startswith("make ")]
    assert set(targets) == {"train", "test"}
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def test_every_command_is_of_a_kind_that_is_run():
    assert [c for c in COMMANDS if c and c.split()[0] not in ("make", "mezzotint", "srun", "python")] == []


def test_it_is_short_and_its_files_exist():
    assert len(README.splitlines()) < 130
    for name in re.findall(r"`((?:src|docs|notebooks|configs)/[\w/.]+)`|\]\(([\w/.]+)\)", README):
        path = next(filter(None, name))
        assert (ROOT / path).exists(), path
