"""The LightningModule: a hinge between Lightning's loop and the mathematics, and nothing more."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from mezzotint.data.scaling import PixelScaling
from mezzotint.diffusion import Denoiser, KeyedRandom
from mezzotint.errors import DataError
from mezzotint.instantiate.finite import Finite
from mezzotint.training.callbacks.validation import APART, FixedDraws
from mezzotint.training.hardware.sharding import shard
from mezzotint.training.hardware.strides import keep_strides
from mezzotint.training.optimizers import AdamW, clip_, settle

Batch = dict[str, Tensor]


class DiffusionModule(LightningModule, metaclass=Finite):
    """The loss of a denoiser under an objective, and its optimiser.

    A step leaves behind what callbacks read until the next one, detached and still on the device: `losses`, one tensor
    (b,) a micro-batch, the `index` of these examples (on the CPU), and the norm of the gradient before clipping.

    `fit` brings its own Trainer. In another one it trains with every DataModule that gives such batches; the learning
    rate follows from that Trainer's steps, the batch size and the budget.

    Args:
        denoiser: the network with its conventions.
        objective: per-example losses; may own parameters, which are trained too.
        optimizer: settings with `rate`, `build` and `clip`, such as AdamW.
        seed, budget, batch_size: of the run; budget in images, batch over all processes and micro-batches.
        fused: whether the optimiser may be fused (not beside a gradient scaler, which must see the gradients first).
        range: how uint8 becomes numbers.
        sharded: whether each rank holds a part of the network only.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        objective: nn.Module,
        optimizer: AdamW,
        *,
        seed: int = 0,
        budget: int,
        batch_size: int,
        fused: bool = True,
        range: PixelScaling | None = None,
        sharded: bool = False,
    ) -> None:
        super().__init__()
        self.denoiser, self.objective = denoiser, objective
        self.settings, self.seed, self.budget, self.batch_size = optimizer, seed, budget, batch_size
        self.fused, self.range, self.sharded = fused, range or PixelScaling(), sharded
        self.random = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in denoiser.modules())
        self.losses: list[Tensor] = []
        self.index: list[Tensor] = []
        self.grad_norm: Tensor | None = None
        self.stepped = False  # what lies here belongs to a step that is done
        self.rate = 0.0

    def __setattr__(self, name: str, value: Any) -> None:
        """Lightning notes the hook it is in some fifty times a step, which nn.Module's bookkeeping makes slow."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def example_losses(self, denoiser: Denoiser, batch: Batch, draws: KeyedRandom) -> Tensor:
        """Losses (b,) of the examples of a batch; uint8 images become numbers here, on the device."""
        condition = {"label": batch["label"]} if "label" in batch else {}
        return self.objective(denoiser, self.range.to_float(batch["image"]), draws, **condition)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean loss of a micro-batch; Lightning divides it by their number."""
        draws = KeyedRandom(self.seed, batch["index"])
        if self.random:  # dropout inside the network: a function of the seed and of the first example
            torch.manual_seed(int(KeyedRandom(self.seed, batch["index"][:1]).uniform("dropout").item() * 2**31))
        losses = self.example_losses(self.denoiser, batch, draws)
        if self.stepped:
            self.losses, self.index, self.stepped = [], [], False
        self.losses.append(losses.detach())
        self.index.append(batch["index"])
        return losses.mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Logs validation/loss, of the weights as they are, at fixed times and with fixed noise.

        For a Trainer of one's own: a run has Validation, which looks at the average.
        """
        with torch.inference_mode(False), torch.no_grad():  # tables that are made here are remembered for training
            loss = self.example_losses(self.denoiser, batch, FixedDraws(0, batch["index"] + APART)).mean()
        self.log("validation/loss", loss, batch_size=len(batch["index"]), sync_dist=True)
        return loss

    def configure_model(self) -> None:
        """Lightning's place for cutting the network into shards."""
        if self.sharded:
            shard(self, self.denoiser.network, self.device_mesh["data_parallel"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.settings.build(self, self.fused)

    def on_train_start(self) -> None:
        """A checkpoint brings the optimiser's settings along; whether it may be fused is a matter of this machine."""
        settle(self.trainer.optimizers[0], self.fused)
        if self.trainer.world_size > 1 and not self.sharded:
            keep_strides(self)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """The learning rate is a function of the images seen, so there is no scheduler and nothing of it to save."""
        images = self.trainer.global_step * self.batch_size
        self.rate = self.settings.rate(images, self.batch_size, self.budget)
        for group in optimizer.param_groups:
            group["lr"] = self.rate
        optimizer.step(closure=optimizer_closure)
        self.stepped = True

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """As the optimiser does it, without its entries for torch's profiler."""
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = None

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """As the optimiser's settings say; as a Trainer of one's own says where it was told."""
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.grad_norm = clip_(gradients, self.settings.clip if gradient_clip_val is None else None)
        if gradient_clip_val is not None:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """All but the index, from which the random numbers are made on the CPU.

        Raises:
            DataError: a batch of another make.
        """
        if not (isinstance(batch, dict) and {"image", "index"} <= batch.keys()):
            given = f"holds {', '.join(map(str, batch))}" if isinstance(batch, dict) else f"is a {type(batch).__name__}"
            raise DataError(
                "a batch is a dict of image, uint8 (B, C, H, W), index, int64 (B,), and label where there are classes; "
                f"this one {given}. Examples of one index have the same times and noise: count them on through all "
                "epochs, as mezzotint.data.DataModule does."
            )
        return {k: v if k == "index" else v.to(device, non_blocking=True) for k, v in batch.items()}
