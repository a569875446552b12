"""The settings of the published recipes of U-Nets are those of their sources' tables."""

from typing import Any

import pytest

from mezzotint.app.config import arguments
from mezzotint.app.config.job import Job
from mezzotint.app.config.resolve import resolve
from mezzotint.app.help import config_dir

MILLION = 1_000_000
TABLES: dict[str, dict[str, Any]] = {
    # Karras et al. 2022, table 7, column CIFAR-10, the defaults of their code; sampling: table 2, 18 steps
    "cifar10_edm": {
        "budget": 200 * MILLION,
        "batch_size": 512,
        "n": 50_000,
        "data.shape": [3, 32, 32],
        "data.classes": 0,
        "data.flip": False,
        "network._target_": "mezzotint.networks.SongUNet",
        "network.width": 128,
        "network.multipliers": [2, 2, 2],
        "network.blocks": 4,
        "network.attention": [16],
        "network.dropout": 0.13,
        "network.augmentation": 9,
        "objective.augment.probability": 0.12,
        "objective.label_dropout": 0.0,
        "time_distribution.mean": -1.2,
        "time_distribution.std": 1.2,
        "optimizer.lr": 1e-3,
        "optimizer.betas": [0.9, 0.999],
        "optimizer.weight_decay": 0.0,
        "optimizer.warmup": 10 * MILLION,
        "optimizer.decay": "constant",
        "optimizer.clip": None,
        "ema.halflife": 0.5 * MILLION,
        "ema.rampup": 0.05,
        "sampler.coordinate._target_": "mezzotint.diffusion.NoiseCoordinate",
        "grid.rho": 7.0,
        "grid.steps": (35 + 1) / 2,
    },
    # Karras et al. 2022, table 7, column ImageNet-64, the options that their code gives; sampling: table 5
    "imagenet64_edm": {
        "budget": 2500 * MILLION,
        "batch_size": 4096,
        "n": 50_000,
        "data.shape": [3, 64, 64],
        "data.crop": "edm",
        "data.enlarge": True,
        "data.flip": False,
        "network._target_": "mezzotint.networks.UNet",
        "network.width": 192,
        "network.multipliers": [1, 2, 3, 4],
        "network.blocks": 3,
        "network.attention": [32, 16, 8],
        "network.head_width": 64,
        "network.dropout": 0.1,
        "network.learned_variance": False,
        "objective.label_dropout": 0.0,
        "time_distribution.mean": -1.2,
        "time_distribution.std": 1.2,
        "optimizer.lr": 1e-4,
        "optimizer.betas": [0.9, 0.999],
        "optimizer.warmup": 10 * MILLION,
        "optimizer.decay": "constant",
        "optimizer.clip": None,
        "ema.halflife": 50 * MILLION,
        "ema.rampup": 0.05,
        "sampler.s_churn": 40,
        "sampler.s_tmin": 0.05,
        "sampler.s_tmax": 50,
        "sampler.s_noise": 1.003,
        "grid.steps": (511 + 1) / 2,
    },
    # Karras et al. 2024, table 6, column ImageNet-64 S, the preset of their code; sampling: table 3
    "imagenet64_edm2_s": {
        "budget": 2**30,
        "batch_size": 2048,
        "n": 50_000,
        "data.shape": [3, 64, 64],
        "data.crop": "adm",
        "data.enlarge": True,
        "data.flip": False,
        "network._target_": "mezzotint.networks.EDM2UNet",
        "network.width": 192,
        "network.multipliers": [1, 2, 3, 4],
        "network.blocks": 3,
        "network.attention": [16, 8],
        "network.head_width": 64,
        "network.dropout": 0.0,
        "objective.label_dropout": 0.0,
        "loss_weight._target_": "mezzotint.diffusion.UncertaintyWeight",
        "time_distribution.mean": -0.8,
        "time_distribution.std": 1.6,
        "optimizer.lr": 0.01,
        "optimizer.betas": [0.9, 0.99],
        "optimizer.warmup": 10 * MILLION,
        "optimizer.clip": None,
        "lr_schedule._target_": "mezzotint.training.InverseSqrtLR",
        "lr_schedule.images": 35_000 * 2048,
        "ema._target_": "mezzotint.training.PowerEMA",
        "ema.std": [0.05, 0.1],
        "grid.steps": (63 + 1) / 2,
    },
    # Nichol and Dhariwal 2021, appendix A and table 2, the flags that their code gives
    "cifar10_iddpm": {
        "budget": 500_000 * 128,
        "batch_size": 128,
        "n": 50_000,
        "data.classes": 0,
        "data.flip": False,
        "network.width": 128,
        "network.multipliers": [1, 2, 2, 2],
        "network.blocks": 3,
        "network.attention": [16, 8],
        "network.heads": 4,
        "network.dropout": 0.3,
        "network.scale_shift": True,
        "network.learned_variance": True,
        "network.waves": "adm",
        "schedule._target_": "mezzotint.diffusion.CosineSchedule",
        "schedule.steps": 4000,
        "c_noise.factor": 1000 / 4000,
        "loss.coefficient": 0.001,
        "optimizer.lr": 1e-4,
        "optimizer.betas": [0.9, 0.999],
        "optimizer.weight_decay": 0.0,
        "optimizer.warmup": 0,
        "optimizer.decay": "constant",
        "optimizer.clip": None,
        "ema.rampup": None,
        "sampler.variance._target_": "mezzotint.diffusion.LearnedRangeVariance",
        "grid._target_": "mezzotint.diffusion.Linspace",
        "grid.steps": 4000,
    },
    # Dhariwal and Nichol 2021, table 11, column ImageNet 64 x 64, the flags of their code; sampling: table 5
    "imagenet64_adm": {
        "budget": 540_000 * 2048,
        "batch_size": 2048,
        "n": 50_000,
        "data.shape": [3, 64, 64],
        "data.crop": "adm",
        "data.enlarge": True,
        "data.flip": True,
        "network.width": 192,
        "network.multipliers": [1, 2, 3, 4],
        "network.blocks": 3,
        "network.attention": [32, 16, 8],
        "network.head_width": 64,
        "network.dropout": 0.1,
        "network.scale_shift": True,
        "network.resample": "residual",
        "network.learned_variance": True,
        "network.waves": "adm",
        "schedule._target_": "mezzotint.diffusion.CosineSchedule",
        "schedule.steps": 1000,
        "loss.coefficient": 0.001,
        "objective.label_dropout": 0.0,
        "optimizer.lr": 3e-4,
        "optimizer.betas": [0.9, 0.999],
        "optimizer.weight_decay": 0.0,
        "optimizer.warmup": 0,
        "optimizer.clip": None,
        "ema.rampup": None,
        "sampler.variance._target_": "mezzotint.diffusion.LearnedRangeVariance",
        "grid._target_": "mezzotint.diffusion.Linspace",
        "grid.steps": 250,
    },
}
DECAYS = {"cifar10_iddpm": 0.9999, "imagenet64_adm": 0.9999, "cifar10_ddpm": 0.9999}  # of the EMA, a step


def job(experiment: str) -> Job:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return resolve(compose(arguments.CONFIG, [arguments.addable(f"experiment={experiment}")]))


def value(recipe: Job, key: str) -> Any:
    first, *rest = key.split(".")
    found = getattr(recipe, first)
    for name in rest:
        found = found[name]
    return found


@pytest.mark.parametrize("experiment", TABLES)
def test_every_number_is_that_of_the_source(experiment: str) -> None:
    recipe = job(experiment)
    assert {key: value(recipe, key) for key in TABLES[experiment]} == TABLES[experiment]


@pytest.mark.parametrize("experiment", DECAYS)
def test_the_half_life_is_the_decay_of_the_source(experiment: str) -> None:
    recipe = job(experiment)
    assert recipe.ema is not None
    assert 0.5 ** (recipe.batch_size / recipe.ema["halflife"]) == pytest.approx(DECAYS[experiment], abs=1e-7)


def test_the_rate_of_edm2_is_its_formula() -> None:
    """Appendix C: lr / sqrt(max(t / t_ref, 1)) after a linear warm-up, t in images."""
    from mezzotint.instantiate.build import build

    recipe = job("imagenet64_edm2_s")
    schedule = build(recipe.lr_schedule)
    for images in (0, 10**6, 71_680_000, 10**8, 2**30):
        expected = 1 / max(images / (35_000 * 2048), 1) ** 0.5
        assert schedule.factor(images, recipe.budget) == pytest.approx(expected, rel=1e-12)
