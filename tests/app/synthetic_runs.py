"""Runs as they lie on disk, made without training: a few discs under noise, and numbers that are known."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from mezzotint.app.commands.sample import noted
from mezzotint.app.config.job import Job
from mezzotint.figures import film_strip, grid

STEPS = 12  # of a run: a line each, a look every third
SIDE = 16  # pixels


def config(folder: Path, seed: int, schedule: str) -> dict[str, Any]:
    return {
        "data": {"_target_": "mezzotint.data.Digits", "shape": [1, SIDE, SIDE], "classes": 10},
        "network": {"_target_": "mezzotint.networks.UNet", "shape": [1, SIDE, SIDE], "width": 32},
        "schedule": {"_target_": f"mezzotint.diffusion.{schedule}", "steps": 1000},
        "target": {"_target_": "mezzotint.diffusion.Velocity"},
        "optimizer": {"_target_": "mezzotint.training.AdamW", "lr": 0.002},
        "sampler": {"_target_": "mezzotint.diffusion.DDIM", "eta": 0.0},
        "grid": {"_target_": "mezzotint.diffusion.Trailing", "steps": 50},
        "guidance": {"_target_": "mezzotint.diffusion.no_guidance"},
        "metrics": {"fid": {"_target_": "mezzotint.metrics.FrechetDistance"}},
        "paths": {
            "_target_": "mezzotint.app.config.job.Paths",
            "runs": str(folder.parent),
            "data": "/d",
            "cache": "/c",
        },
        "name": "made",
        "run": None,
        "seed": seed,
        "budget": 64 * STEPS,
        "batch_size": 64,
    }


def job(folder: Path, **changes: Any) -> Job:
    """A job whose parts are never built."""
    node = {"_target_": "Part"}
    groups = ("network", "schedule", "target", "objective", "time_distribution", "loss", "optimizer", "sampler", "grid")
    paths = {"_target_": "mezzotint.app.config.job.Paths", "runs": str(folder), "data": "/d", "cache": "/c"}
    given = {"data": node, "hardware": node, "paths": paths, "name": "a", "budget": 64, "batch_size": 16}
    return Job(**dict.fromkeys(groups, node) | given | changes)


def lines(quality: float) -> Iterator[dict[str, Any]]:
    for step in range(1, STEPS + 1):
        loss = quality + 0.5 / step
        line: dict[str, Any] = {"step": step, "images": 64 * step, "loss": loss, "grad_norm": 1 / step, "lr": 2e-3}
        if step % 3 == 0:
            line["validation"] = {"loss": loss * 1.1, **{f"share_{i}": loss * (i + 1) for i in range(4)}}
            line["sample_metrics"] = {"fd_made_500": loss * 10, "kd_made_500": loss}
        yield line | {"time": {"seconds": 10.0 * step, "images_per_second": 6.4}}


def discs(radius: float, noise: float, count: int = 16) -> torch.Tensor:
    """uint8 (count, 1, SIDE, SIDE): a disc under noise."""
    axis = torch.arange(SIDE) - SIDE / 2
    disc = (axis[:, None] ** 2 + axis**2 < radius**2).float() * 200
    dirt = torch.randn(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 120
    return (disc * (1 - noise) + noise * (dirt + 128)).clamp(0, 255).to(torch.uint8)


def pictures(directory: Path, previews: int = 4) -> None:
    (directory / "samples").mkdir()
    for i in range(1, previews + 1):
        grid(discs(5, 1 - i / previews)).save(directory / "samples" / f"step-{3 * i:08d}.png")
    grid(discs(5, 0.1, 20), columns=10).save(directory / "samples" / "ddim-trailing-50.png")
    frames = torch.stack([discs(5, 1 - i / 9, 4) for i in range(10)])
    strip = film_strip(frames, frames.flip(0))
    strip.save(
        directory / "samples" / "ddim-trailing-50-film.png",
        pnginfo=noted(noise=" ".join(f"{share:.4g}" for share in [1 - i / 9 for i in range(10)])),
    )


def evaluations(directory: Path, quality: float, seed: int) -> None:
    (directory / "evaluation").mkdir()
    for name, eta, steps, value in (("DDIM", 0.0, 10, 2.0), ("DDIM", 0.0, 50, 1.0), ("DDPM", None, 50, 1.5)):
        sampler = {"_target_": f"mezzotint.diffusion.{name}"} | ({} if eta is None else {"eta": eta})
        protocol = {
            "n": 1000,
            "calls": float(steps),
            "sampler": sampler,
            "grid": {"_target_": "mezzotint.diffusion.Trailing", "steps": steps},
            "guidance": {"_target_": "mezzotint.diffusion.no_guidance"},
            "weights": "ema",
            "seeds": f"{seed}, samples 0 to n - 1",
            "run": directory.name,
            "date": "2026-01-01",
        }
        values = {"fd_made_1000": quality * value, "fd_made_1000_std": 0.01, "precision_made_1000": 0.5 / value}
        content = {"values": values, "protocol": protocol, "notes": ["few images"], "errors": {}}
        (directory / "evaluation" / f"{name}-{steps}.json").write_text(json.dumps(content))


def make(directory: Path, seed: int = 0, schedule: str = "CosineSchedule", quality: float = 0.2, **status: Any) -> Path:
    """A finished run with all that a run can have, made without training."""
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text(yaml.safe_dump(config(directory, seed, schedule)))
    (directory / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines(quality)))
    said = {"state": "finished", "images": 64 * STEPS, "budget": 64 * STEPS, "seconds": 120.0, "objective": quality}
    (directory / "status.json").write_text(json.dumps(said | {"started": 1_700_000_000.0, "host": "here"} | status))
    (directory / "train.log").write_text("2026-01-01 started\n")
    pictures(directory)
    evaluations(directory, quality, seed)
    return directory


def make_sweep(folder: Path) -> Path:
    """Two schedules with two seeds each."""
    for schedule, seed, quality in (
        ("CosineSchedule", 0, 0.3),
        ("CosineSchedule", 1, 0.2),
        ("LinearSchedule", 0, 0.9),
        ("LinearSchedule", 1, 10.0),
    ):
        make(folder / f"{schedule.removesuffix('Schedule').lower()}{seed}", seed, schedule, quality)
    return folder


def content(file: Path) -> dict[str, Any]:
    text = file.read_text()
    return json.loads(text.partition('id="content">')[2].partition("</script>")[0])
