"""What a GPU would compute, on a FakeDevice: `python computed.py` prints a JSON object of results by case.

A result has the `error` of the case, the `waits` of the host in a step after the first one, and whether the number is
that of the CPU.
"""

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from fake_device import FakeDevice, autocast_to_bfloat16, install, tensors, without_driver
from members import CLASSES, SHAPE, denoisers, made, measurements, restorations, samplings
from own_autocast import in_bfloat16, register
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mezzotint.devices import WITHOUT_FLOAT64
from mezzotint.diffusion import KeyedRandom, WhiteNoise, restore, sample
from mezzotint.diffusion.objective import derivatives
from mezzotint.training import EMA, AdamW, DiffusionModule, TrainingRun

NAME = "toy"
BATCH = 4
IN_BFLOAT16 = ("network=", "target=")  # whose steps are also taken in bfloat16
PRODUCTS = {  # without those of attention, which torch computes in float32 on a device that has no kernel for it
    torch.ops.aten.convolution.default,
    torch.ops.aten.convolution_backward.default,
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
}
Play = Callable[[Callable[[], Any], torch.device, list[str]], Tensor]


def batch(network: torch.nn.Module) -> dict[str, Tensor]:
    torch.manual_seed(1)
    found = {"image": torch.randint(0, 256, (BATCH, *SHAPE), dtype=torch.uint8), "index": torch.arange(BATCH) + 100}
    if type(network).__name__ == "Autoencoder":
        return found | {"original": found["image"]}
    return found | {"label": torch.arange(BATCH) % CLASSES}


def module_of(make: Callable[[], Any], device: torch.device) -> DiffusionModule:
    denoiser, objective, *optimizer = make()
    settings = optimizer[0] if optimizer else AdamW()
    return DiffusionModule(denoiser, objective, settings, budget=10**6, batch_size=BATCH).to(device).train()


def forward(make: Callable[[], Any], device: torch.device, waits: list[str]) -> Tensor:
    """The loss of a batch, without gradients."""
    module = module_of(make, device).requires_grad_(False)
    given = module.transfer_batch_to_device(batch(module.denoiser.network), device, 0)
    module.training_step(given, 0)  # tables and teachers are moved
    waits.clear()
    return module.training_step(given, 0)


def training(make: Callable[[], Any], device: torch.device, waits: list[str]) -> Tensor:
    """The loss of the second of two steps: the network, the objective, clipping, the optimizer and EMA."""
    module = module_of(make, device)
    optimizer, average = module.configure_optimizers(), EMA()
    run = TrainingRun(Path(), module, None, seed=0, budget=10**6, batch_size=BATCH)
    average.start(run)
    given, loss = batch(module.denoiser.network), torch.zeros(())
    for _ in range(2):
        waits.clear()
        loss = module.training_step(module.transfer_batch_to_device(given, device, 0), run.step)
        loss.backward()
        module.configure_gradient_clipping(optimizer)
        optimizer.step()
        optimizer.zero_grad()
        run.step += 1
        average.step(run)
        module.losses, module.index = [], []
    return loss.detach()


def backward(make: Callable[[], Any], device: torch.device, waits: list[str]) -> Tensor:
    """`training`, of which the last loss is finite and its arithmetic in bfloat16."""
    with Products() as products:
        loss = training(make, device, waits)
    assert products.dtypes == {torch.bfloat16}, products.dtypes
    assert bool(loss.raw.isfinite()), "the loss is not finite"
    return loss


class Products(TorchDispatchMode):
    """Notes the dtypes of matrix products and convolutions, those of the backward pass too."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in PRODUCTS:
            self.dtypes |= {tensor.dtype for tensor in tensors((out,))}  # of a first layer, None for its input
        return out


def sampling(make: Callable[[], Any], device: torch.device, waits: list[str]) -> Tensor:
    """Samples, with stochastic steps and labels."""
    denoiser, guidance, sampler, grid = make()
    guided = guidance(denoiser.to(device).requires_grad_(False))
    eps, label, noise = inputs(device)
    waits.clear()
    return sample(guided, sampler, grid, eps, noise=noise, label=label)


def restoring(make: Callable[[], Any], device: torch.device, waits: list[str]) -> Tensor:
    """Images from measurements of random ones."""
    denoiser, measured, method = make()
    denoiser.to(device)
    eps, label, noise = inputs(device)
    measurement, grid = measured(eps.flip(0)), made("grid", "trailing", steps=4)
    waits.clear()
    return restore(denoiser, made("sampler", "ddim"), grid, eps, measurement, method, noise, label=label)


def measuring(make: Callable[[], Any], device: torch.device, waits: list[str]) -> Tensor:
    """What is computed of images beside losses and samples."""
    denoiser, compute = make()
    eps, label, _ = inputs(device)
    denoiser.to(device).requires_grad_(False)
    waits.clear()
    return compute(denoiser, eps, KeyedRandom(1, torch.arange(BATCH)), label)


def inputs(device: torch.device) -> tuple[Tensor, Tensor, WhiteNoise]:
    draws = KeyedRandom(0, torch.arange(BATCH))
    label = (torch.arange(BATCH) % CLASSES).to(device)
    return draws.normal("sample", SHAPE).to(device), label, WhiteNoise(draws.to(device))


def result(play: Play, make: Callable[[], Any], device: FakeDevice, exact: bool) -> dict[str, Any]:
    """What a case gives on a device; `exact` compares it with the CPU."""
    try:
        expected = play(make, torch.device("cpu"), []) if exact else torch.zeros(())
        with device:
            found = play(make, device.device, device.waits)
        waits = list(device.waits)
    except Exception as error:
        frames = [f"{f.filename.rpartition('/')[2]}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
        return {"error": f"{type(error).__name__}: {str(error)[:300]} ({' > '.join(frames[-6:])})"}
    scale = max(1.0, float(expected.abs().max()))
    apart = float((found.raw.double() - expected.double()).abs().max()) / scale if exact else 0.0
    return {"error": None, "waits": waits, "apart": apart}


def central_difference(function: Callable[..., Any], at: tuple[Tensor, ...], along: tuple[Tensor, ...]) -> Any:
    """In place of forward-mode derivatives, which torch has not for tensors of a subclass."""

    def moved_by(step: float) -> Any:
        return function(*(x + step * v.to(x) for x, v in zip(at, along, strict=True)))

    with torch.no_grad():
        low, high = moved_by(-1e-3), moved_by(1e-3)
    slopes = [(b - a) / 2e-3 for a, b in zip(low, high, strict=True)]
    return function(*at), tuple(slopes) if isinstance(low, tuple) else torch.stack(slopes)


@contextmanager
def without_float64(device: FakeDevice) -> Iterator[None]:
    """Make a device one without double precision, as Apple's are."""
    device.float64 = False
    WITHOUT_FLOAT64.add(device.device.type)
    try:
        yield
    finally:
        device.float64 = True
        WITHOUT_FLOAT64.remove(device.device.type)


def main() -> None:
    torch.set_num_threads(1)
    derivatives.forward_derivative = central_difference
    install(NAME)
    register()
    without_driver()
    own, nvidia = FakeDevice(NAME), FakeDevice("cuda")
    parts = {
        "training": (training, denoisers),
        "sampling": (sampling, samplings),
        "restoring": (restoring, restorations),
    }
    parts["measuring"] = (measuring, measurements)
    found = {}
    for kind, (play, members) in parts.items():
        once = forward if kind == "training" else play
        for name, make in members():
            if len(sys.argv) < 2 or sys.argv[1] in f"{kind} {name}":
                found[f"{kind} {name}"] = result(play, make, own, exact=True)
                if kind in ("training", "sampling"):  # the others take gradients
                    with autocast_to_bfloat16("cuda"), torch.no_grad():
                        found[f"bfloat16 {kind} {name}"] = result(once, make, nvidia, exact=False)
                if kind == "training" and name.startswith(IN_BFLOAT16):
                    with in_bfloat16(NAME):
                        found[f"bfloat16 backward {name}"] = result(backward, make, own, exact=False)
                with without_float64(own):
                    found[f"float32 {kind} {name}"] = result(play, make, own, exact=False)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
