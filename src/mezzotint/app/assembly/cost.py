"""The cost of a config in numbers: parameters, steps, devices, memory, checkpoints, network calls."""

from torch import nn

from mezzotint.app.assembly import rates
from mezzotint.app.assembly.dry_run import ComponentsDryRun
from mezzotint.app.assembly.gradients import describe_unreached
from mezzotint.app.assembly.parts import Components
from mezzotint.app.assembly.preflight import checkpoints
from mezzotint.app.assembly.tracing import forward_flops
from mezzotint.app.config.job import Job
from mezzotint.data.dataset import Dataset, coded_shape
from mezzotint.diffusion import AutoSpacing
from mezzotint.diffusion.grids.spacings import Grid
from mezzotint.diffusion.stability import DATA_STDS, holds_images, spread, validated_grid
from mezzotint.training.hardware.hardware import Hardware, switches
from mezzotint.training.hardware.memory import Footprint, checkpoint_size, footprint, free_memory, size

Row = tuple[str, str]
FEW = 10  # steps, below which samplers draw narrow on the usual grid too
NARROW = 0.5  # of the spread of the data, and less: near-means


def plan_line(job: Job, parts: Components) -> str:
    """Return the plan in one line, for the start of a run."""
    network, hardware, batch = parts.denoiser.network, parts.hardware, job.batch_size
    world, micro_batch, times = shares(job, hardware)
    held = "" if times == 1 else f", {micro_batch} at once"
    return (
        f"{parameters(network):,} parameters on {world} x {hardware.device} ({hardware.exact_precision}), "
        f"{-(-job.budget // batch):,} steps of {batch} {parts.noun.many}{held}, "
        f"peak rate {rates.peak_rate(job, parts)}, "
        f"checkpoints of {size(checkpoint_size(network, parts.ema, parts.optimizer))}, "
        f"drawn by {drawing(parts)}{shrunk(parts)}"
        f"{of_classes(parts.dataset) if parts.dataset.labelled_by() else ''}"
    )


def of_classes(dataset: Dataset) -> str:
    """The classes in words, with the names of the first few; nothing where there are none."""
    names = dataset.class_names()
    named = f" ({', '.join(names[:6])}{', ...' if len(names) > 6 else ''})" if names else ""
    return f", {dataset.classes} classes{named}" if dataset.classes else ""


def cost(job: Job, dry: ComponentsDryRun) -> list[Row]:
    """Return the cost of training and evaluation in numbers that do not depend on the machine."""
    parts = dry.components
    network, hardware, noun = parts.denoiser.network, parts.hardware, parts.noun
    batch, budget = job.batch_size, job.budget
    world, micro_batch, times = shares(job, hardware)
    kept, each = checkpoints(job, parts.callbacks), checkpoint_size(network, parts.ema, parts.optimizer)
    return [
        ("network", f"{parameters(network):,} parameters"),
        *([("untrained", describe_unreached(dry.unreached))] if dry.unreached else []),
        ("training", f"{budget:,} {noun.many} in {-(-budget // batch):,} steps of {batch}"),
        ("peak rate", rates.peak_rate(job, parts)),
        *compute(parts, batch, budget),
        ("devices", f"{world} x {hardware.device}, {hardware.exact_precision}"),
        ("batch", f"{micro_batch} {noun.many} on each device, {'once' if times == 1 else f'{times} times'} a step"),
        *memory(parts, micro_batch),
        ("checkpoints", f"{size(each)} each, at most {kept} on the disk at once: {size(kept * each)}"),
        ("sampling", f"{drawing(parts)}, {round(dry.calls)} network calls {noun.one}{shrunk(parts)}"),
    ]


def drawing(parts: Components) -> str:
    """Return the sampler and its grid."""
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
    """Arithmetic of training: a backward pass is two forward ones. Nothing if the network's cannot be counted."""
    once = forward_flops(parts.denoiser.network, coded_shape(parts.dataset))
    amounts = (once, 3 * once * batch, 3 * once * budget)
    each, step, total = map(flops, amounts)
    return [("compute", f"{each} {parts.noun.one} forward, {step} a step, {total} in all")] if once else []


def shares(job: Job, hardware: Hardware) -> tuple[int, int, int]:
    """Processes, images that each holds at once, and micro-batches a step."""
    world = hardware.processes
    times = hardware.accumulation(job.batch_size, world)
    return world, job.batch_size // world // times, times


def memory(parts: Components, micro_batch: int) -> list[Row]:
    """Counted memory of a training step, and what recomputing would make of it; what there is of it here."""
    network, hardware = parts.denoiser.network, parts.hardware
    stages = [stage for stage in switches(network) if not stage.checkpointing]

    def count() -> Footprint:
        return footprint(network, parts.inputs, micro_batch, hardware, parts.ema, parts.optimizer)

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
