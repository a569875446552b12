"""What a config would do, in numbers: network, steps, devices, memory, checkpoints, network calls."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.app.assembly import rates
from mezzotint.app.assembly.gradients import told
from mezzotint.app.assembly.parts import Components, on_meta, placed
from mezzotint.app.assembly.preflight import checkpoints
from mezzotint.app.config.job import Job
from mezzotint.cost.flops import describe
from mezzotint.data.conditions import kinds_of
from mezzotint.data.dataset import coded_shape
from mezzotint.diffusion import AutoSpacing
from mezzotint.diffusion.grids.spacings import Grid
from mezzotint.diffusion.stability import DATA_STDS, holds_images, spread, validated_grid
from mezzotint.generation import null_conditions
from mezzotint.training.hardware.hardware import Hardware, switches
from mezzotint.training.hardware.memory import checkpoint_size, footprint, free_memory, size

Row = tuple[str, str]
FEW = 10  # steps, below which samplers draw narrow on the usual grid too
NARROW = 0.5  # of the spread of the data, and less: near-means


def line(job: Job, parts: Components) -> str:
    """The plan in one line, for the start of a run."""
    network, hardware, batch = parts.denoiser.network, parts.hardware, job.batch_size
    world, micro_batch, times = shares(job, hardware)
    held = "" if times == 1 else f", {micro_batch} at once"
    return (
        f"{parameters(network):,} parameters on {world} x {hardware.device} ({hardware.exact_precision}), "
        f"{-(-job.budget // batch):,} steps of {batch} images{held}, peak rate {rates.told(job, parts)}, "
        f"checkpoints of {size(checkpoint_size(network, parts.ema))}, drawn by {drawing(parts)}{shrunk(parts)}"
        f"{of_classes(parts.dataset) if parts.dataset.labelled_by() else ''}"
    )


def of_classes(dataset: Any) -> str:
    """The classes in words, with the names of the first few; nothing where there are none."""
    names = dataset.class_names()
    named = f" ({', '.join(names[:6])}{', ...' if len(names) > 6 else ''})" if names else ""
    return f", {dataset.classes} classes{named}" if dataset.classes else ""


def cost(job: Job, parts: Components) -> list[Row]:
    """What training and evaluation would take, in numbers that do not depend on the machine."""
    network, hardware = parts.denoiser.network, parts.hardware
    batch, budget = job.batch_size, job.budget
    world, micro_batch, times = shares(job, hardware)
    kept, each = checkpoints(job, parts.callbacks), checkpoint_size(network, parts.ema)
    return [
        ("network", f"{parameters(network):,} parameters"),
        *([("untrained", told(parts.unreached))] if parts.unreached else []),
        ("training", f"{budget:,} images in {-(-budget // batch):,} steps of {batch}"),
        ("peak rate", rates.told(job, parts)),
        *compute(parts, batch, budget),
        ("devices", f"{world} x {hardware.device}, {hardware.exact_precision}"),
        ("batch", f"{micro_batch} images on each device, {'once' if times == 1 else f'{times} times'} a step"),
        *memory(parts, micro_batch),
        ("checkpoints", f"{size(each)} each, at most {kept} on the disk at once: {size(kept * each)}"),
        ("sampling", f"{drawing(parts)}, {calls(parts)} network calls an image{shrunk(parts)}"),
    ]


def drawing(parts: Components) -> str:
    """What draws, and along which grid."""
    return f"{type(parts.sampling.sampler).__name__} on {parts.sampling.grid}"


def shrunk(parts: Components) -> str:
    """Return a remark where a grid draws near-means, as steps in time do on schedule=edm; else nothing."""
    sampler, schedule = parts.sampling.sampler, parts.denoiser.schedule
    grid = validated_grid(parts.sampling.grid(schedule))
    if holds_images(sampler):
        return ""

    def left(levels: Grid) -> float:
        return spread(sampler, levels, schedule.prior_std(levels[0]), DATA_STDS[0]) / DATA_STDS[0]

    if (share := left(grid)) >= NARROW:
        return ""
    usual = validated_grid(AutoSpacing(len(grid) - 1)(schedule))
    if len(grid) <= FEW and share >= NARROW * left(usual):  # every grid of so few steps draws narrow
        return ""
    return (
        f" (near-means: only {share:.0%} of the spread of Gaussian data is left on this grid; try grid=auto or karras)"
    )


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def compute(parts: Components, batch: int, budget: int) -> list[Row]:
    """Arithmetic of training: a backward pass is two forward ones. Nothing for a network that cannot be rehearsed."""
    once = forward(parts.denoiser.network, coded_shape(parts.dataset))
    amounts = (once, 3 * once * batch, 3 * once * budget)
    return [("compute", "{} an image forward, {} a step, {} in all".format(*map(flops, amounts)))] if once else []


@lru_cache(maxsize=1)
def forward(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Operations of one image's forward pass; 0 of a network that cannot be rehearsed."""
    with on_meta():
        return describe(network, shape).flops
    return 0


def shares(job: Job, hardware: Hardware) -> tuple[int, int, int]:
    """Processes, images that each holds at once, and micro-batches a step."""
    world = hardware.local * hardware.nodes
    times = hardware.accumulation(job.batch_size, world)
    return world, job.batch_size // world // times, times


def memory(parts: Components, micro_batch: int) -> list[Row]:
    """Counted memory of a training step, and what recomputing would make of it; what there is of it here."""
    network, hardware = parts.denoiser.network, parts.hardware
    stages = [stage for stage in switches(network) if not stage.checkpointing]

    def count() -> Any:
        return footprint(network, coded_shape(parts.dataset), parts.dataset.classes, micro_batch, hardware, parts.ema)

    try:
        counted = count()
    except Exception as error:  # a network of the user's own may do what tensors without memory cannot
        return [("memory", f"not to be counted for this network ({type(error).__name__})")]
    text = str(counted)
    if stages:
        for stage in stages:
            stage.checkpointing = True
        text += f"; {size(count().total)} with hardware.checkpointing=true"
        for stage in stages:
            stage.checkpointing = False
    free = free_memory(hardware.device)
    if counted.total > free:
        text += f". Only {size(free)} are free here: hardware.micro_batch=find looks for what fits"
    return [("memory", text)]


def flops(count: float) -> str:
    for unit, scale in (("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count / 1e6:.3g} MFLOP"


class ZeroNetwork(nn.Module):
    """Answers zeros, of as many outputs a channel as another network gives: its calls can be counted for nothing."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: Tensor, time: Tensor, **_: Any) -> Tensor:
        return x.new_zeros(len(x), self.outputs * x.shape[1], *x.shape[2:])


def calls(parts: Components) -> int:
    """Network calls for one image, found by letting the sampler walk its whole grid with a network that does nothing.

    Raises:
        ConfigError: it cannot go where the grid leads.
    """
    shape = coded_shape(parts.dataset)
    outputs = 1
    with on_meta(), torch.no_grad():
        answer = parts.denoiser.network(torch.empty(1, *shape, device="meta"), torch.empty(1, device="meta"))
        outputs = answer.shape[1] // shape[0]
    still = parts.denoiser.using(ZeroNetwork(outputs))
    generator = parts.sampling.of_dataset(still, parts.dataset, conditions=null_conditions(kinds_of(parts.dataset)))
    with placed("sampler"):
        generator.sample_from(*generator.start(torch.arange(1)))
    return round(generator.calls)
