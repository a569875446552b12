"""Combinations of choices that are invalid together, with the reason and what to do."""

from typing import Any

from torch import nn

from mezzotint.app.assembly.conditions import check_learned
from mezzotint.app.assembly.few_steps import check_few_steps, check_teachers
from mezzotint.app.config.job import Job, Node
from mezzotint.diffusion import (
    CFGPlusPlus,
    Clip,
    ClipIfEpsilon,
    Denoiser,
    DynamicThreshold,
    SelfConditioned,
)
from mezzotint.diffusion.guidance.cfg import check_cfg_pp
from mezzotint.diffusion.objective.base import BaseObjective
from mezzotint.diffusion.objective.losses import Loss
from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import build, targets
from mezzotint.instantiate.locate import locate
from mezzotint.training.hardware.hardware import Hardware


def check_pairs(job: Job, denoiser: Denoiser, objective: nn.Module, hardware: Hardware) -> None:
    """Check all pairs of a run that is to be trained.

    Raises:
        ConfigError: the first that cannot work.
    """
    check_network_and_data(job)
    check_rank(job, objective)
    check_objective(job, objective, denoiser)
    check_guidance(job, denoiser.network, objective)
    check_augmentation(job.network, objective)
    check_shards(denoiser, objective, hardware)


def check_network_and_data(job: Job) -> None:
    """The network is built for the data's images and classes; both follow by themselves unless they are overridden."""
    network, data = job.network, job.data
    seen = build(job.codec, "codec").shape(data["shape"]) if job.codec else data["shape"]
    if "shape" in network and list(network["shape"]) != list(seen):
        raise ConfigError(
            f"network.shape={network['shape']} and data.shape={data['shape']} differ: leave network.shape out, it "
            "follows the data"
        )
    if 0 < (network.get("classes") or 0) < (data.get("classes") or 0):
        raise ConfigError(
            f"network.classes={network['classes']} and data.classes={data['classes']}: the network would not know "
            "every label. Leave network.classes out, it follows the data"
        )


def check_guidance(job: Job, network: Any, objective: Any) -> None:
    """Guidance needs a network that was trained for it. For sampling too, where the run's config is asked.

    What a network or an objective of the user's own does not say is left to the rehearsal.
    """
    check_self_conditioning(job.guidance, network, objective)
    check_bounds(job)
    check_renoising(job)
    check_learned(job, objective)
    check_few_steps(job, network)


def check_objective(job: Job, objective: nn.Module, denoiser: Denoiser) -> None:
    """Check an objective of ours against its teachers, the schedule and the target."""
    if not isinstance(objective, BaseObjective):
        return
    check_teachers(job, objective, denoiser.network)
    try:
        objective.check(denoiser)
    except ValueError as error:
        raise ConfigError(str(error).rstrip(".")) from error


def check_bounds(job: Job) -> None:
    """Guidance that clips x0 needs data with bounds."""
    clips = [path for _, path in targets(job.guidance) if locate(path) in (Clip, ClipIfEpsilon, DynamicThreshold)]
    if clips and job.codec and build(job.codec, "codec").bounds is None:
        raise ConfigError(
            f"guidance with {clips[0].rpartition('.')[2]} clips x0, but the data have no bounds: use guidance=none or "
            "cfg, or give the codec its bounds, codec.low= and codec.high="
        )


def check_rank(job: Job, objective: nn.Module) -> None:
    """Refuse parts that work on height and width alone, for data that lack one."""
    shape = job.data["shape"]
    if len(shape) == 3:
        return
    two = {"objective=augmented": getattr(objective, "augment", None) is not None}
    loss: Loss = build(job.loss, "loss")
    two[f"loss={type(loss).__name__}"] = loss.images_only
    if wrong := [name for name, chosen in two.items() if chosen]:
        raise ConfigError(f"{wrong[0]} is for height and width, and data.shape={shape} are not images: leave it out")


def check_renoising(job: Job) -> None:
    """CFG++ goes on with another eps than that of its x0, which the steps of few samplers take."""
    plus = next((where for where, path in targets(job.guidance) if locate(path) is CFGPlusPlus), None)
    if plus is None:
        return
    try:
        check_cfg_pp(CFGPlusPlus(), build(job.sampler, "sampler"))
    except ValueError as error:
        raise ConfigError(str(error).rstrip(".")) from error


def check_self_conditioning(guidance: Any, network: Any, objective: Any) -> None:
    """Training, network and sampling must all show the network its own estimate, or none of them."""
    share = getattr(objective, "self_conditioning", 0.0)
    takes = getattr(network, "self_conditioning", share > 0)
    shown = any(locate(path) is SelfConditioned for _, path in targets(guidance))
    if not (share > 0) == takes == shown:
        raise ConfigError(
            f"objective.self_conditioning={share:g}, network.self_conditioning={str(takes).lower()} and guidance "
            f"{'with' if shown else 'without'} SelfConditioned do not fit together. With self-conditioning: "
            "objective.self_conditioning=0.5 network.self_conditioning=true guidance=self_conditioned "
            "(or cfg_self_conditioned); without: none of the three"
        )


def check_augmentation(network: Node, objective: nn.Module) -> None:
    """Refuse a network conditioned on augmentations with an objective that makes none."""
    numbers = network.get("augmentation") or 0
    if numbers and getattr(objective, "augment", False) is None:
        raise ConfigError(
            f"network.augmentation={numbers}, and the objective augments nothing, so that its weights would never be "
            "trained. Use objective=augmented, or leave network.augmentation out"
        )


def check_variance(objective: nn.Module) -> None:
    """For a network of two outputs a channel: half of them are a variance, which the loss has to teach.

    Raises:
        ConfigError: it is one of ours that does not. What a loss of the user's own teaches is not known.
    """
    match getattr(objective, "loss", None):
        case Loss(trains_variance=False) as loss:
            raise ConfigError(
                f"the network has two outputs for each channel, and loss={type(loss).__name__} never trains the "
                "second, the variance. Use loss=hybrid, or leave out network.learned_variance=true"
            )


def check_shards(denoiser: Denoiser, objective: nn.Module, hardware: Hardware) -> None:
    """FSDP cuts the network alone."""
    if hardware.strategy != "fsdp" or hardware.processes == 1:
        return
    inside = {id(parameter) for parameter in denoiser.network.parameters()}
    for part, owner in ((denoiser, "schedule"), (objective, "weight")):
        outside = [name for name, p in part.named_parameters() if p.requires_grad and id(p) not in inside]
        if outside:
            raise ConfigError(
                f"hardware.strategy=fsdp shards only the network, and {outside[0]} outside of it is trained too. Use "
                f"hardware.strategy=ddp, or a {owner}= without parameters"
            )
