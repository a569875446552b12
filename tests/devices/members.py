"""Every choice of configs/ that computes on a device, built small."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from mezzotint.diffusion import (
    AveragePooling,
    Clean,
    CosineSchedule,
    Denoiser,
    EDMSchedule,
    Epsilon,
    Flow,
    ImportanceWeight,
    KeyedRandom,
    Mask,
    Measurement,
    Objective,
    RectifiedFlowSchedule,
    Velocity,
    dequantise,
    interpolate_images,
    ode_log_likelihood,
    variational_bound,
)
from mezzotint.diffusion.samplers.runge_kutta import EULER
from mezzotint.instantiate.build import build
from mezzotint.networks import MLP, IntervalCondition, UNet

CONFIGS = Path(__file__).parents[2] / "configs"
SHAPE, CLASSES = (3, 16, 16), 3
SMALL = {
    "width": 8,
    "widths": [8, 8],
    "multipliers": [1, 2],
    "attention": [8],
    "blocks": 1,
    "depth": 3,
    "encoder_depth": 2,
    "head_width": 8,
    "patch": 4,
    "bottleneck": 8,
    "class_tokens": 2,
    "class_start": 1,
}
TABLES = ("step_index", "scaled_step_index")


def choices(group: str) -> list[str]:
    found = sorted(file.stem for file in (CONFIGS / group).glob("*.yaml"))
    assert found, f"configs/{group} is empty: nothing would be tested"
    return found


def node(group: str, name: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / group / f"{name}.yaml").read_text())


def made(group: str, name: str, **more: Any) -> Any:
    return build(node(group, name) | more)


def network(name: str) -> torch.nn.Module:
    """A network of configs/network with its kind of blocks, of the size of a test."""
    torch.manual_seed(0)
    return build(small(name))


def small(name: str) -> dict[str, Any]:
    """The node of `network`."""
    own = node("network", name)
    sizes = {key: value for key, value in SMALL.items() if key in own and own[key] is not True}
    return own | sizes | {"shape": list(SHAPE), "classes": 0 if name == "autoencoder" else CLASSES}


def networks() -> list[str]:
    """Those of configs/network that differ in more than their size."""
    nodes: list[dict[str, Any]] = []
    return [name for name in choices("network") if (one := small(name)) not in nodes and not nodes.append(one)]


def plain(**more: Any) -> torch.nn.Module:
    """A small network, for choices that do not depend on it."""
    torch.manual_seed(0)
    return MLP(SHAPE, CLASSES, 8, **more)


def twice() -> torch.nn.Module:
    """A small network with a learned variance."""
    torch.manual_seed(0)
    return UNet(SHAPE, CLASSES, 8, multipliers=(1, 2), attention=(), blocks=1, learned_variance=True)


def estimating() -> torch.nn.Module:
    """A small network that is shown its own estimate of x0."""
    torch.manual_seed(0)
    return UNet(SHAPE, CLASSES, 8, multipliers=(1, 2), attention=(), blocks=1, self_conditioning=True)


def denoisers() -> Iterator[tuple[str, Callable[[], tuple[Any, ...]]]]:
    """Names and makers of (denoiser, objective), and an optimizer beside AdamW: what a training step computes."""

    def by_network(name: str) -> tuple[Denoiser, torch.nn.Module]:
        own = node("network", name)
        objective = Objective(label_dropout=0.1, loss=made("loss", "hybrid") if own.get("learned_variance") else None)
        if own.get("augmentation"):
            objective = made("objective", "augmented")
        if name == "autoencoder":
            objective = made("objective", "autoencoder")
        return Denoiser(network(name), CosineSchedule()), objective

    for name in networks():
        yield f"network={name}", lambda name=name: by_network(name)
    for name in choices("target"):
        for schedule in ("cosine", "vp", "edm", *(("rectified",) if name not in ("epsilon", "score") else ())):
            yield (
                f"target={name} schedule={schedule}",
                lambda name=name, schedule=schedule: (
                    Denoiser(plain(), made("schedule", schedule), made("target", name)),
                    Objective(label_dropout=0.1),
                ),
            )
    for name in choices("schedule"):
        yield f"schedule={name}", lambda name=name: (Denoiser(plain(), made("schedule", name), Velocity()), Objective())
    for group, argument in (("time_distribution", "times"), ("loss_weight", "weight"), ("loss", "loss")):
        for name in choices(group):
            yield f"{group}={name}", lambda group=group, name=name, argument=argument: by_part(group, argument, name)
    for name in choices("c_noise"):
        table = CosineSchedule() if name in TABLES else RectifiedFlowSchedule()
        yield (
            f"c_noise={name}",
            lambda name=name, table=table: (
                Denoiser(plain(), table, Velocity(), None if name == "auto" else made("c_noise", name)),
                Objective(),
            ),
        )
    for name in choices("c_in"):
        yield (
            f"c_in={name}",
            lambda name=name: (
                Denoiser(plain(), EDMSchedule(), made("target", "edm"), c_in=made("c_in", name)),
                Objective(),
            ),
        )
    for name in choices("objective"):
        if name not in ("autoencoder", "augmented"):  # with their networks
            yield f"objective={name}", lambda name=name: by_objective(name)
    for name in choices("optimizer"):
        yield (
            f"optimizer={name}",
            lambda name=name: (Denoiser(network("unet"), CosineSchedule()), Objective(), made("optimizer", name)),
        )
    yield (
        "objective.self_conditioning",
        lambda: (
            Denoiser(estimating(), CosineSchedule()),
            Objective(self_conditioning=0.5, input_perturbation=0.1, label_dropout=0.1),
        ),
    )


def by_part(group: str, argument: str, name: str) -> tuple[Denoiser, torch.nn.Module]:
    variance = name in ("hybrid", "variational")
    continuous = group == "loss_weight" and name == "flow"
    schedule = RectifiedFlowSchedule() if continuous else CosineSchedule()
    target = Flow() if continuous else Epsilon()
    parts = {argument: made(group, name)}
    if name in ("loss_aware",):
        parts["weight"] = ImportanceWeight()
    return Denoiser(twice() if variance else plain(), schedule, target), Objective(**parts)


def by_objective(name: str) -> tuple[Denoiser, torch.nn.Module]:
    given = node("objective", name)
    schedule, target = RectifiedFlowSchedule(), Flow()
    if name == "continuous_consistency":
        schedule, target = made("schedule", "trigflow"), made("target", "edm")
    more = {"conditions": {"interval": IntervalCondition()}} if name == "mean_flow" else {}
    if "teacher" in given:
        given = given | {"teacher": None}
    if given.get("teacher", 0) is None and name != "continuous_consistency":
        del given["teacher"]
        return Denoiser(plain(), schedule, target), build(given, teacher=Denoiser(plain(), schedule, target).eval())
    return Denoiser(plain(**more), schedule, target), build(given)


def samplings() -> Iterator[tuple[str, Callable[[], tuple[Any, Any, Any, Any]]]]:
    """Names and makers of (denoiser, guidance, sampler, grid)."""
    spacing = made("grid", "trailing", steps=6)

    def denoiser(inner: torch.nn.Module | None = None) -> Denoiser:
        return Denoiser(inner or plain(), CosineSchedule(), Velocity()).eval()

    def average_velocity() -> Denoiser:
        return Denoiser(plain(conditions={"interval": IntervalCondition()}), RectifiedFlowSchedule(), Flow()).eval()

    for name in choices("sampler"):
        about = average_velocity if name == "mean_flow" else denoiser
        grid = made("grid", "trailing", steps=30) if name == "dpm_2_ancestral" else spacing  # which fewer would not do
        yield (
            f"sampler={name}",
            lambda name=name, about=about, grid=grid: (
                about(),
                unguided,
                made("sampler", name),
                grid,
            ),
        )
    for name in choices("guidance"):
        if name in ("none", "autoguidance", "cfg_compositional"):
            continue
        about = estimating if "self_conditioned" in name else plain
        yield (
            f"guidance={name}",
            lambda name=name, about=about: (
                denoiser(about()),
                lambda inner: made("guidance", name, inner=inner),
                made("sampler", "ddim"),
                spacing,
            ),
        )
    for name in networks():
        if name != "autoencoder":
            yield (
                f"network={name}",
                lambda name=name: (
                    denoiser(network(name)),
                    unguided,
                    made("sampler", "dpmpp_2m"),
                    made("grid", "trailing", steps=2),
                ),
            )


def unguided(denoiser: Denoiser) -> Denoiser:
    return denoiser


def restorations() -> Iterator[tuple[str, Callable[[], tuple[Any, Any, Any]]]]:
    """Names and makers of (denoiser, measurement, method)."""
    for name in choices("method"):

        def case(name: str = name) -> tuple[Any, Any, Any]:
            method = made("method", name, **({"jump": 2, "walks": 2} if name == "repaint" else {}))
            return Denoiser(plain(), CosineSchedule(), Clean()).eval(), operator(method), method

        yield f"method={name}", case


def operator(method: Any) -> Callable[[torch.Tensor], Measurement]:
    """What makes the measurement of an image that a method takes."""
    if getattr(method, "replaces", False):
        return lambda image: Measurement(Mask(torch.ones(16, 16, dtype=torch.bool, device=image.device)), image)
    return lambda image: Measurement(AveragePooling(2), AveragePooling(2)(image), 0.1)


def measurements() -> Iterator[tuple[str, Callable[[], tuple[Denoiser, Callable[..., torch.Tensor]]]]]:
    """Names and makers of (denoiser, function of it, images, draws and labels)."""
    spacing = made("grid", "trailing", steps=3)

    def likelihood(denoiser: Denoiser, x: torch.Tensor, draws: KeyedRandom, label: torch.Tensor) -> torch.Tensor:
        grid = spacing(denoiser.schedule)[:-1]
        return ode_log_likelihood(denoiser, x, grid, draws, tableau=EULER, label=label)

    def bound(denoiser: Denoiser, x: torch.Tensor, draws: KeyedRandom, label: torch.Tensor) -> torch.Tensor:
        return variational_bound(denoiser, x.clamp(-1, 1), spacing(denoiser.schedule), draws, label=label).total

    def dequantised(denoiser: Denoiser, x: torch.Tensor, draws: KeyedRandom, label: torch.Tensor) -> torch.Tensor:
        return dequantise((x.clamp(-1, 1) * 127 + 128).to(torch.uint8), draws)

    def interpolated(denoiser: Denoiser, x: torch.Tensor, draws: KeyedRandom, label: torch.Tensor) -> torch.Tensor:
        return interpolate_images(denoiser, made("sampler", "ddim"), spacing, x, x.flip(0), label=label)

    def standardized(denoiser: Denoiser, x: torch.Tensor, draws: KeyedRandom, label: torch.Tensor) -> torch.Tensor:
        codec = build(node("codec", "standardize") | {"mean": [0.5], "std": [2.0], "stored": "float32"})
        return codec.encode(x)

    for play in (likelihood, bound, dequantised, interpolated, standardized):
        yield play.__name__, lambda play=play: (Denoiser(plain(), CosineSchedule(), Velocity()).eval(), play)
