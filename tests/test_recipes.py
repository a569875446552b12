"""The settings of published recipes are those of their sources' tables."""

import pytest

from mezzotint.app.config import arguments
from mezzotint.app.config.job import Job
from mezzotint.app.config.resolve import resolve
from mezzotint.app.help import config_dir

IMAGENET = 1_281_167  # training images


def job(experiment: str) -> Job:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return resolve(compose(arguments.CONFIG, [arguments.addable(f"experiment={experiment}")]))


def decay(halflife: float, batch: int) -> float:
    """The decay of an EMA a step."""
    return 0.5 ** (batch / halflife)


def test_imagenet256_jit_b() -> None:
    """Li and He 2025, table 9, and the command of their code; its t is 0 at noise and 1 at data: ours is 1 - t."""
    recipe = job("imagenet256_jit_b")
    network, optimizer, ema = recipe.network, recipe.optimizer, recipe.ema
    assert (network["depth"], network["width"], network["width"] // network["head_width"]) == (12, 768, 12)
    assert (recipe.data["shape"], recipe.data["crop"], recipe.data["enlarge"]) == ([3, 256, 256], "adm", True)
    assert network["patch"] == 256 // 16
    assert (network["bottleneck"], network["dropout"]) == (128, 0.0)
    assert (network["class_tokens"], network["class_start"]) == (32, 4)
    assert recipe.budget == 600 * IMAGENET
    assert optimizer["warmup"] == 5 * IMAGENET
    assert (optimizer["betas"], optimizer["lr"], optimizer["weight_decay"]) == ([0.9, 0.95], 2e-4, 0.0)
    assert (optimizer["decay"], recipe.batch_size) == ("constant", 1024)
    decays = [decay(halflife, recipe.batch_size) for halflife in ema["halflife"]]
    assert decays == pytest.approx([0.9999, 0.9998, 0.9996], abs=1e-9)
    assert (recipe.time_distribution["mean"], recipe.time_distribution["std"]) == (0.8, 0.8)
    assert recipe.loss_weight["floor"] == 0.05
    assert recipe.objective["label_dropout"] == 0.1
    assert recipe.grid["steps"] == 50
    assert recipe.guidance["high"] == pytest.approx((1 - 0.1) / 0.1)
    assert 1.0 <= recipe.guidance["scale"] <= 4.0
    assert recipe.n == 50 * 1000


def test_cifar10_uvit_s() -> None:
    """Bao et al. 2023, tables 1 and 2, and the settings of their code for CIFAR-10."""
    recipe = job("cifar10_uvit_s")
    network, optimizer = recipe.network, recipe.optimizer
    assert (network["depth"], network["width"], network["width"] // network["head_width"]) == (13, 512, 8)
    assert (network["patch"], network["final_convolution"], network["dropout"]) == (2, True, 0.0)
    assert (recipe.budget, recipe.batch_size) == (500_000 * 128, 128)
    assert (optimizer["lr"], optimizer["betas"], optimizer["weight_decay"]) == (2e-4, [0.99, 0.999], 0.03)
    assert (optimizer["warmup"], optimizer["decay"], optimizer["clip"]) == (2_500 * 128, "constant", None)
    assert decay(recipe.ema["halflife"], 128) == pytest.approx(0.9999, abs=1e-6)
    assert (recipe.data["classes"], recipe.data["flip"]) == (0, True)
    assert (recipe.grid["steps"], recipe.n) == (1000, 50_000)


@pytest.mark.parametrize("name", ["imagenet256_dit_xl", "imagenet256_sit_xl"])
def test_dit_and_sit_of_the_largest_size(name: str) -> None:
    """Peebles and Xie 2023, table 1 and section 4, and both training scripts: they differ in what is diffused."""
    recipe = job(name)
    network, optimizer = recipe.network, recipe.optimizer
    assert (network["depth"], network["width"], network["width"] // network["head_width"]) == (28, 1152, 16)
    assert (network["patch"], network["learned_variance"]) == (2, name == "imagenet256_dit_xl")
    assert (recipe.budget, recipe.batch_size) == (7_000_000 * 256, 256)
    assert (optimizer["lr"], optimizer["weight_decay"], optimizer["warmup"]) == (1e-4, 0.0, 0)
    assert (optimizer["decay"], optimizer["clip"]) == ("constant", None)
    assert decay(recipe.ema["halflife"], 256) == pytest.approx(0.9999, abs=1e-8)
    assert (recipe.objective["label_dropout"], recipe.guidance["scale"], recipe.n) == (0.1, 1.5, 50_000)
    assert (recipe.data["shape"], recipe.data["flip"]) == ([3, 256, 256], True)
    assert (recipe.data["crop"], recipe.data["enlarge"]) == ("adm", True)
    assert (recipe.codec["scaling_factor"], recipe.codec["posterior"]) == (0.18215, "sample")


def test_what_dit_and_sit_diffuse() -> None:
    dit, sit = job("imagenet256_dit_xl"), job("imagenet256_sit_xl")
    assert (dit.schedule["steps"], dit.schedule["beta_start"], dit.schedule["beta_end"]) == (1000, 1e-4, 0.02)
    assert (dit.grid["_target_"], dit.grid["steps"]) == ("mezzotint.diffusion.Linspace", 250)
    names = [node["_target_"].rpartition(".")[2] for node in (dit.target, dit.loss, dit.sampler["variance"])]
    assert names == ["Epsilon", "HybridLoss", "LearnedRangeVariance"]
    assert [node["_target_"].rpartition(".")[2] for node in (sit.schedule, sit.target)] == [
        "RectifiedFlowSchedule",
        "Flow",
    ]
    assert sit.schedule["shift"] == 1.0
