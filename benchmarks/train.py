"""Training speed of our U-Net in our training step, and of diffusers' UNet2DModel in its published loop.

    python benchmarks/train.py [--case digits small cifar] [--precision 32 bf16] [--rounds 7] [--steps N] [--busy]

Both networks have one layout and one number of parameters, both loops do the same work (noise, epsilon, squared error,
clipping, AdamW, EMA at every step) on images of the same size. Each lives in a process of its own, since accelerate's
precision and our setting of malloc are of a process; they take turns, `--steps` steps each, while the other one waits,
and the figure is the median over the rounds of the ratio within a round, which other jobs disturb least. On a busy
machine `--busy` measures one thread in the CPU seconds of the process instead of wall time.

diffusers' loop is the one of examples/unconditional_image_generation/train_unconditional.py: accelerate, AdamW with its
betas, EMAModel. Images come from a tensor for both, so no data loader is measured.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from mezzotint.diffusion import Denoiser, LinearSchedule, Objective
from mezzotint.networks import UNet, bfloat16_is_fast


@dataclass(frozen=True)
class Case:
    """A network and the batch it trains on; steps is how many make a turn of some seconds."""

    shape: tuple[int, int, int]
    width: int
    multipliers: tuple[int, ...]
    blocks: int
    attention: int
    batch: int
    steps: int

    def ours(self) -> UNet:
        return UNet(
            self.shape,
            width=self.width,
            multipliers=self.multipliers,
            blocks=self.blocks,
            attention=(self.attention,),
            groups=self.groups,
        )

    def theirs(self) -> torch.nn.Module:
        import diffusers

        attends = [self.shape[1] // 2**level == self.attention for level in range(len(self.multipliers))]
        return diffusers.UNet2DModel(
            sample_size=self.shape[1],
            in_channels=self.shape[0],
            out_channels=self.shape[0],
            block_out_channels=tuple(self.width * multiplier for multiplier in self.multipliers),
            layers_per_block=self.blocks,
            down_block_types=tuple("AttnDownBlock2D" if attend else "DownBlock2D" for attend in attends),
            up_block_types=tuple("AttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends)),
            attention_head_dim=None,
            norm_num_groups=self.groups,
        )

    @property
    def groups(self) -> int:
        return min(32, self.width // 4)


CASES = {
    "digits": Case((1, 8, 8), width=32, multipliers=(1, 2), blocks=1, attention=4, batch=64, steps=20),
    "small": Case((3, 32, 32), width=64, multipliers=(1, 1, 1), blocks=2, attention=16, batch=64, steps=2),
    "cifar": Case((3, 32, 32), width=128, multipliers=(1, 2, 2, 2), blocks=2, attention=16, batch=8, steps=2),
}


def our_step(case: Case, precision: str, device: str, compiled: bool = False) -> tuple[int, Callable[[], None]]:
    """Parameters, and a function that trains one step with the parts that a run is made of."""
    from mezzotint.training import EMA, AdamW, DiffusionModule, Hardware, TrainingRun
    from mezzotint.training.optimizers import settle

    network = case.ours().to(device)
    Hardware(precision="bf16-mixed" if precision == "bf16" else "32", tf32=precision != "32", compile=compiled).prepare(
        network
    )
    module = DiffusionModule(
        Denoiser(network, LinearSchedule()), Objective(), AdamW(), budget=10**9, batch_size=case.batch
    ).train()
    optimizer, average = module.configure_optimizers(), EMA()
    settle(optimizer)
    run = TrainingRun(Path(), module, None, seed=0, budget=10**9, batch_size=case.batch)
    average.start(run)
    images = torch.randint(0, 256, (case.batch, *case.shape), dtype=torch.uint8, device=device)

    def step() -> None:
        index = torch.arange(run.images, run.images + case.batch)
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            loss = module.training_step({"image": images, "index": index}, run.step)
        loss.backward()
        module.configure_gradient_clipping(optimizer)
        optimizer.step()
        optimizer.zero_grad()
        run.step += 1
        average.step(run)
        module.losses, module.index = [], []

    return count(network), step


def their_step(case: Case, precision: str, device: str, compiled: bool = False) -> tuple[int, Callable[[], None]]:
    """The same for diffusers."""
    from accelerate import Accelerator
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel

    accelerator = Accelerator(mixed_precision="bf16" if precision == "bf16" else "no", cpu=device == "cpu")
    network, scheduler = case.theirs(), DDPMScheduler(num_train_timesteps=1000)
    parameters = count(network)
    average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    average.to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    rate = get_scheduler("cosine", optimizer, num_warmup_steps=500, num_training_steps=10**6)
    if compiled:
        network.compile()
    network, optimizer, rate = accelerator.prepare(network, optimizer, rate)
    images = torch.rand(case.batch, *case.shape, device=device) * 2 - 1

    def step() -> None:
        noise = torch.randn_like(images)
        times = torch.randint(0, 1000, (case.batch,), device=device).long()
        noisy = scheduler.add_noise(images, noise, times)
        with accelerator.accumulate(network):
            loss = functional.mse_loss(network(noisy, times).sample.float(), noise.float())
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            rate.step()
            optimizer.zero_grad()
        average.step(network.parameters())
        loss.detach().item()  # for its log, at every step

    return parameters, step


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def measure(name: str, precision: str, rounds: int, steps: int | None, busy: bool) -> tuple[int, float, float, float]:
    """Parameters, images a second of diffusers and of ours (medians), and the median ratio of the rounds."""
    case, context = CASES[name], get_context("spawn")
    steps = steps or case.steps
    seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
    with ExitStack() as stack:
        sides = {side: stack.enter_context(ProcessPoolExecutor(1, mp_context=context)) for side in seconds}
        sizes = {side: pool.submit(begin, side, name, precision, busy).result() for side, pool in sides.items()}
        if sizes["theirs"] != sizes["ours"]:
            raise AssertionError(f"{name}: {sizes} parameters: not the same network")
        for turn in range(rounds + 1):
            for side, pool in sides.items():
                spent = pool.submit(take_turn, steps if turn else 1, busy).result()
                if turn:  # the first warms up
                    seconds[side].append(spent)
    ratio = statistics.median(a / b for a, b in zip(seconds["theirs"], seconds["ours"], strict=True))
    speeds = (case.batch * steps / statistics.median(spent) for spent in seconds.values())
    return sizes["ours"], *speeds, ratio


def begin(side: str, name: str, precision: str, busy: bool) -> int:
    """In the process of one side: make its step; the number of parameters."""
    global step_of_this_process
    if busy:
        torch.set_num_threads(1)
    make = our_step if side == "ours" else their_step
    parameters, step_of_this_process = make(CASES[name], precision, device())
    return parameters


def take_turn(steps: int, busy: bool) -> float:
    return clock(step_of_this_process, steps, device(), busy)


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def clock(step: Callable[[], None], steps: int, device: str, busy: bool) -> float:
    """Seconds that some steps take: of the wall, or of this process on the CPU."""
    now = time.process_time if busy else time.perf_counter
    finish(device)
    start = now()
    for _ in range(steps):
        step()
    finish(device)
    return now() - start


def finish(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--precision", nargs="+", choices=["32", "bf16"], default=["32", "bf16"])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each; the first one more, to warm up")
    parser.add_argument("--steps", type=int, help="steps a turn; by default some seconds' worth")
    parser.add_argument("--busy", action="store_true", help="one thread, CPU seconds: for a machine with other jobs")
    options = parser.parse_args()
    console = Console()
    if "bf16" in options.precision and not bfloat16_is_fast(device()):
        console.print("This processor has no bfloat16 arithmetic and would take many times longer: bf16 is left out.")
        options.precision.remove("bf16")
    table = Table("network", "parameters", "precision", "batch", "diffusers img/s", "mezzotint img/s", "ratio")
    for name in options.case:
        for precision in options.precision:
            parameters, theirs, ours, ratio = measure(name, precision, options.rounds, options.steps, options.busy)
            row = (name, f"{parameters:,}", precision, str(CASES[name].batch), f"{theirs:.1f}", f"{ours:.1f}")
            table.add_row(*row, f"{ratio:.2f}")
            console.print(f"{' '.join(row)}: ratio {ratio:.3f}")
    console.print(table)


if __name__ == "__main__":
    main()
