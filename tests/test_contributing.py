"""CONTRIBUTING.md is true: each example is written to an empty folder as it stands there, and its command is run."""

import json
import re
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml

from mezzotint.app import cli
from mezzotint.diffusion import DDPM, CosineSchedule, KeyedRandom, Trailing, WhiteNoise, exact_gaussian, sample
from mezzotint.instantiate.build import build, check
from mezzotint.metrics import DigitsClassifier

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
FILES = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [
    line.split()[1:] for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
]
SMALLER = ("hardware=cpu", "callbacks=minimal", "name=mine")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """An empty folder with all that CONTRIBUTING.md tells to write."""
    for name, text in FILES:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def node(mine: Path, name: str) -> dict:
    return yaml.safe_load((mine / "mine" / f"{name}.yaml").read_text())


def test_it_is_short_and_shows_five_parts():
    assert len(TEXT.splitlines()) < 200
    assert len(COMMANDS) == 5
    assert [name.split("/")[1] for name, _ in FILES if name.endswith(".yaml")] == [
        "schedule",
        "sampler",
        "network",
        "data",
        "metrics",
    ]
    for name, text in FILES:
        assert name.endswith(".py") or len(text.splitlines()) <= 5, f"{name} is more than five lines"


@pytest.mark.filterwarnings("ignore:The `srun` command")  # Lightning, on a machine that has SLURM
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_runs_as_written(words, mine, capsys):
    assert words[0] == "train"
    code = cli.main([*words, *SMALLER])
    assert code == 0, capsys.readouterr().err
    config = yaml.safe_load((mine / "runs/mine/config.yaml").read_text())
    assert "mine." in json.dumps(config), "the part that was added has no part in the run"
    assert json.loads((mine / "runs/mine/status.json").read_text())["state"] == "finished"
    if "means" in " ".join(words):
        (file,) = (mine / "runs/mine/evaluation").glob("*.json")
        assert "means_digits_16" in json.loads(file.read_text())["values"]


def test_the_schedule_keeps_the_laws(mine):
    schedule = build(node(mine, "schedule/power"))
    assert (schedule.level(0.0).alpha, schedule.level(0.0).sigma) == (1.0, 0.0)
    assert (schedule.level(1.0).alpha, schedule.level(1.0).sigma) == (0.0, 1.0)
    t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    torch.testing.assert_close(schedule.time(schedule.level(t)), t)
    assert (schedule.rate(t) < 0).all()


def test_the_sampler_is_ddpm_at_one_and_draws_less_widely_below(mine):
    tempered = build(node(mine, "sampler/tempered"))
    draws = KeyedRandom(0, torch.arange(4000))
    gaussian = exact_gaussian(CosineSchedule(), torch.tensor([0.5], dtype=torch.float64), 1.0)
    eps = draws.normal("start", (1,)).double()

    def drawn(sampler):
        return sample(gaussian, sampler, Trailing(50), eps, WhiteNoise(draws))

    plain = drawn(DDPM())
    torch.testing.assert_close(drawn(replace(tempered, temperature=1.0)), plain)
    assert drawn(tempered).std() < 0.95 * plain.std()


def test_the_network_takes_any_size_and_hears_time_and_label(mine):
    network = import_module("mine.convolutions").Convolutions((3, 6, 10), classes=4, width=8)
    x, time = torch.randn(2, 3, 6, 10), torch.tensor([1.0, 1.0])
    out = network(x, time, torch.tensor([0, 1]))
    assert out.shape == x.shape
    assert not torch.allclose(out, network(x, time + 500, torch.tensor([0, 1])))
    assert not torch.allclose(out, network(x, time, torch.tensor([2, 3])))
    torch.testing.assert_close(network(x, time), network(x, time, torch.tensor([-1, -1])))


def test_the_dataset_holds_what_it_says(mine):
    stripes = build(node(mine, "data/stripes")).split("train")
    images, labels = stripes.batch(torch.arange(len(stripes)))
    flat = images[:, 0].float()
    assert torch.equal((flat.std(1).sum(1) < flat.std(2).sum(1)).long(), labels)  # standing: columns are constant
    assert check(node(mine, "data/stripes") | {"cuont": 3}, "data"), "a wrong argument must be found"


def test_the_metric_is_the_distance_of_the_means(mine):
    metric = import_module("mine.means").Means(DigitsClassifier())
    real, drawn = torch.randn(40, metric.width), torch.randn(30, metric.width)
    metric.update_features(real, real=True)
    metric.update_features(drawn, real=False)
    wanted = (real.double().mean(0) - drawn.double().mean(0)).square().sum().sqrt()
    torch.testing.assert_close(metric.compute(), wanted)
