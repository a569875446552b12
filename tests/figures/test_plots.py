"""Plots say what the objects say: the numbers that were drawn, not only that something was drawn."""

import json
import math

import pytest
import torch

from mezzotint.app import cli
from mezzotint.app.config.choices import built_choice
from mezzotint.diffusion import (
    ConstantWeight,
    ContinuousCosineSchedule,
    CosineSchedule,
    EDMSchedule,
    EDMWeight,
    LearnedSchedule,
    LinearSchedule,
    LogNormalTimes,
    MinSNRWeight,
    RectifiedFlowSchedule,
    Trailing,
    UniformLogSNR,
    UniformTimes,
    Velocity,
    VPSchedule,
    ZeroTerminalSNRSchedule,
)
from mezzotint.figures import plot_grids, plot_loss, plot_loss_by_level, plot_schedules, plot_times, plot_weights
from mezzotint.figures.plots import COLOURS, DASHES


def drawn(axis) -> dict[str, torch.Tensor]:
    """label -> (points, 2)."""
    return {line.get_label(): torch.tensor(line.get_xydata()) for line in axis.lines}


def at(line: torch.Tensor, x: float) -> float:
    """The line's value at x, between its points."""
    i = int((line[:, 0] < x).sum())
    (x0, y0), (x1, y1) = line[i - 1].tolist(), line[i].tolist()
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def test_schedules_are_drawn_as_they_are():
    alpha, sigma, log_snr, snr = plot_schedules(
        {"straight": RectifiedFlowSchedule(), "cosine": ContinuousCosineSchedule()}
    ).axes
    assert at(drawn(alpha)["straight"], 0.3) == pytest.approx(0.7)
    assert at(drawn(sigma)["cosine"], 1 / 3) == pytest.approx(0.5, abs=1e-4)
    assert at(drawn(log_snr)["straight"], 0.25) == pytest.approx(2 * math.log(3), abs=1e-3)
    assert at(drawn(snr)["straight"], 0.25) == pytest.approx(9.0, rel=1e-3)
    assert sigma.get_yscale() == "linear"


def test_schedules_of_every_kind_are_drawn_and_large_noise_is_compressed():
    many = {
        "edm": EDMSchedule(),
        "vp": VPSchedule(),
        "zero": ZeroTerminalSNRSchedule(LinearSchedule()),
        "learned": LearnedSchedule(),
    }
    sigma = plot_schedules(many).axes[1]
    assert sigma.get_yscale() == "symlog"
    assert drawn(sigma)["edm"][-1, 1] == pytest.approx(80.0)
    assert all(torch.isfinite(line).all() for line in drawn(sigma).values())


def test_lines_differ_in_colour_and_in_dashes():
    lines = plot_schedules({str(i): VPSchedule(beta_max=10.0 + i) for i in range(8)}).axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 8
    assert {line.get_color() for line in lines} == set(COLOURS)
    assert {line.get_linestyle() for line in lines} == set(DASHES)


def test_a_grid_shows_every_level_but_the_clean_one_has_no_log_snr():
    time, log_snr = plot_grids({"trailing": Trailing(10), "log": UniformLogSNR(5)}, CosineSchedule()).axes
    assert time.lines[0].get_xdata().tolist() == [1000 - 100 * i for i in range(10)] + [0.0]
    steps = torch.tensor(log_snr.lines[1].get_xdata()).diff()
    assert len(steps) == 4
    torch.testing.assert_close(steps, steps[:1].expand(4))


def test_the_density_of_log_snr_integrates_to_one():
    """Uniform times on the cosine: p(log-SNR) = sech(log-SNR / 2) / (2 pi), Kingma and Gao 2023, table 1."""
    (axis,) = plot_times({"uniform": UniformTimes(), "normal": LogNormalTimes()}, ContinuousCosineSchedule()).axes
    lines = drawn(axis)
    for line in lines.values():
        assert abs(float(torch.trapezoid(line[:, 1], line[:, 0]))) == pytest.approx(1.0, abs=2e-3)
    x, density = lines["uniform"].T
    torch.testing.assert_close(density, 1 / (2 * torch.pi * torch.cosh(x / 2)))


def test_weights_are_on_the_error_of_v():
    """Plain v counts 1; EDM's SNR + 4 on x0 is alpha^2 + 4 sigma^2 on v; min-SNR is min(SNR, 5) sigma^2."""
    weights = {"plain": ConstantWeight(), "edm": EDMWeight(), "min": MinSNRWeight()}
    weight, counted = plot_weights(weights, ContinuousCosineSchedule(), Velocity()).axes
    lines = drawn(weight)
    x = lines["edm"][:, 0]
    alpha2, sigma2 = x.sigmoid(), (-x).sigmoid()
    torch.testing.assert_close(lines["edm"][:, 1], alpha2 + 4 * sigma2)
    torch.testing.assert_close(lines["min"][:, 1], x.exp().clamp(max=5.0) * sigma2)
    torch.testing.assert_close(lines["plain"][:, 1], torch.ones_like(x))
    assert all(float(line[:, 1].max()) == pytest.approx(1.0) for line in drawn(counted).values())


@pytest.fixture
def run(tmp_path):
    lines = [
        {"step": 1, "images": 64, "loss": 1.0},
        {"step": 2, "images": 128, "loss": 0.5, "validation": {"loss": 0.75, "share_0": 1.0, "share_1": 0.5}},
        {"step": 3, "images": 192, "validation": {"loss": 0.25, "share_0": 0.3, "share_1": 0.2}},
    ]
    broken = '{"step": 4, "time": {"seconds": 3}'  # a run that is still being written
    (tmp_path / "metrics.jsonl").write_text("\n".join([*map(json.dumps, lines), broken]))
    return tmp_path


def test_the_losses_of_a_run(run):
    (axis,) = plot_loss(run).axes
    assert drawn(axis)["training"].tolist() == [[64, 1.0], [128, 0.5]]
    assert drawn(axis)["validation"].tolist() == [[128, 0.75], [192, 0.25]]
    (axis,) = plot_loss_by_level(run).axes
    assert [line.get_ydata().tolist() for line in axis.lines] == [[1.0, 0.5], [0.3, 0.2]]
    assert axis.lines[0].get_xdata().tolist() == [0, 1]
    light, dark = (sum(line.get_color()[:3]) for line in axis.lines)
    assert dark < light


def test_what_is_not_a_run_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"no metrics\.jsonl"):
        plot_loss(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "images": 1, "loss": 1}\n')
    with pytest.raises(ValueError, match="no validation"):
        plot_loss_by_level(tmp_path)


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ("schedule=linear,cosine schedule.steps=50", "runs/plots/schedule-linear-cosine.png"),
        ("grid=trailing,karras schedule=edm grid.steps=7", "runs/plots/grid-trailing-karras.png"),
        ("time_distribution=uniform,stratified", "runs/plots/time_distribution-uniform-stratified.png"),
        ("loss_weight=constant,min_snr target=epsilon out=here/w.svg", "here/w.svg"),
    ],
)
def test_the_command_writes_a_picture_and_says_where(words, file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["plot", *words.split()]) == 0
    assert capsys.readouterr().out.strip() == file
    head = (tmp_path / file).read_bytes()[:100]
    assert head.startswith(b"\x89PNG") if file.endswith("png") else b"<?xml" in head


def test_the_command_draws_a_run(run, monkeypatch, capsys):
    monkeypatch.chdir(run)
    assert cli.main(["plot", "run=.", "out=loss.png"]) == 0
    assert (run / "loss.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["schedule=cosin"], "did you mean 'cosine'"),
        (["grid=karras", "grid.stps=3"], "did you mean 'steps'"),
        (["sampler=ddim"], "nothing to plot"),
        (["schedule=cosine", "out=x.gif"], ".png, .svg or .pdf"),
        (["run=nowhere"], "metrics.jsonl"),
        (["grid=quadratic", "grid.steps=2000"], "1000"),
    ],
)
def test_the_command_says_what_is_wrong(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["plot", *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_changes_reach_each_choice_of_their_group():
    parts = [built_choice("schedule", name, {"schedule.steps": "50"}) for name in ("linear", "cosine")]
    assert [part.steps for part in parts] == [50, 50]
