"""The LightningModule: the loss of a denoiser, its optimizer, and what Lightning's callbacks and loggers look at."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from mezzotint.data.codecs.base import Codec
from mezzotint.data.codecs.pixels import PixelCodec
from mezzotint.diffusion import Annealed, Denoiser, KeyedRandom
from mezzotint.finite import Finite
from mezzotint.networks.layers import Constrained
from mezzotint.training import batches, hyperparameters
from mezzotint.training.batches import Batch
from mezzotint.training.fixed_draws import APART, FixedDraws
from mezzotint.training.hardware.sharding import shard
from mezzotint.training.hardware.strides import keep_strides
from mezzotint.training.optimizers import OptimizerSettings, clip_, gradients_of, set_rate, settle


class DiffusionModule(LightningModule, metaclass=Finite):
    """The loss of a denoiser under an objective, and its optimizer.

    It trains in any Trainer, on any LightningDataModule whose batches are images (B, C, H, W), pairs (image, label) or
    dicts of these, `index` and conditions by name; examples of the codec's type are encoded, others are taken as they
    are. It logs loss, grad_norm and lr at each step and validation/loss, that of the weights as they are. Without
    `index`, examples are numbered by the images seen: runs repeat, but another batch size or number of processes draws
    other noise.

    A step leaves behind what callbacks read until the next one, detached and still on the device: `losses`, one tensor
    (b,) a micro-batch, the `index` of these examples (on the CPU), and the norm of the gradient before clipping.

    Args:
        denoiser: the network with its conventions.
        objective: per-example losses; may own parameters, which are trained too.
        optimizer: settings with `rate`, `build` and `clip`, such as AdamW.
        seed: of the run.
        budget: images to see, for the learning rate; None takes the steps that the Trainer plans.
        batch_size: images a step, over all processes and micro-batches; None takes that of the data loader.
        fused: whether the optimizer may be fused (not beside a gradient scaler, which must see the gradients first).
        codec: how stored examples become numbers; None takes that of pixels.
        sharded: whether each rank holds a part of the network only.
    """

    load_from_checkpoint = classmethod(hyperparameters.load_from_checkpoint)

    def __init__(
        self,
        denoiser: Denoiser,
        objective: nn.Module,
        optimizer: OptimizerSettings,
        *,
        seed: int = 0,
        budget: int | None = None,
        batch_size: int | None = None,
        fused: bool = True,
        codec: Codec | None = None,
        sharded: bool = False,
    ) -> None:
        super().__init__()
        self.denoiser, self.objective = denoiser, objective
        self.settings, self.seed, self.budget, self.batch_size = optimizer, seed, budget, batch_size
        self.fused, self.codec, self.sharded = fused, codec or PixelCodec(), sharded
        self.random = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in denoiser.modules())
        self.constrained = [part for part in denoiser.modules() if isinstance(part, Constrained)]
        self.annealed = [part for part in objective.modules() if isinstance(part, Annealed)]
        self.labelled, self.shape = batches.takes_labels(denoiser.network), (0, 0, 0)
        self.losses, self.index = list[Tensor](), list[Tensor]()
        self.grad_norm: Tensor | None = None
        self.stepped = False  # losses and index belong to a step that is done
        self.rate, self.counted = 0.0, 0  # of the last step; held-out examples in this validation
        self.logging = self.in_run = False  # a run, which is `fit`'s, logs in its own way and has a config

    def setup(self, stage: str) -> None:
        """Log, and keep the arguments for `load_from_checkpoint`, in a Trainer of one's own."""
        self.logging = not self.in_run
        if self.logging:
            self.save_hyperparameters(hyperparameters.described(self))

    def example_losses(self, denoiser: Denoiser, batch: Batch, draws: KeyedRandom) -> Tensor:
        """Losses (b,) of the examples of a batch, which are encoded here, on the device."""
        condition = {name: value for name, value in batch.items() if name not in ("image", "index")}
        return self.objective(denoiser, self.codec.draw(batch["image"], draws), draws, **condition)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Give objectives that change in training the share that is done; it follows from the step on resume."""
        for part in self.annealed:
            part.anneal(self.trainer.global_step * (self.batch_size or 0) / (self.budget or 1))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The mean loss of a micro-batch; Lightning divides it by their number."""
        if self.stepped:
            self.losses, self.index, self.stepped = [], [], False
        batch = batches.numbered(self, batch)
        draws = KeyedRandom(self.seed, batch["index"])
        if self.random:  # dropout inside the network: a function of the seed and of the first example
            torch.manual_seed(int(KeyedRandom(self.seed, batch["index"][:1]).uniform("dropout").item() * 2**31))
        losses = self.example_losses(self.denoiser, batch, draws)
        self.shape = batch["image"].shape[1:]
        self.losses.append(losses.detach())
        self.index.append(batch["index"])
        loss = losses.mean()
        if self.logging:
            self.log("loss", loss.detach(), prog_bar=True, batch_size=len(losses))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Log validation/loss, of the weights as they are, at fixed times and with fixed noise; not in a run."""
        self.counted = 0 if batch_idx == 0 else self.counted
        batch = batches.numbered(self, batch, self.counted)
        self.counted += len(batch["index"])
        with torch.inference_mode(False), torch.no_grad():  # tables that are made here are remembered for training
            loss = self.example_losses(self.denoiser, batch, FixedDraws(0, batch["index"] + APART)).mean()
        self.log("validation/loss", loss, batch_size=len(batch["index"]), sync_dist=True)
        return loss

    def configure_model(self) -> None:
        """Lightning's place for cutting the network into shards."""
        if self.sharded:
            shard(self, self.denoiser.network, self.device_mesh["data_parallel"])

    def __setattr__(self, name: str, value: Any) -> None:
        """Set plain attributes without nn.Module's search for parameters: Lightning sets some fifty of them a step."""
        plain = name in self.__dict__ and not isinstance(value, (Tensor, nn.Module))
        (self.__dict__.__setitem__ if plain else super().__setattr__)(name, value)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.settings.build(self, self.fused)

    def on_train_start(self) -> None:
        """A checkpoint brings the optimizer's settings along; whether it may be fused is a matter of this machine."""
        hyperparameters.plan(self, self.trainer)
        settle(self.trainer.optimizers[0])
        if self.trainer.world_size > 1 and not self.sharded:
            keep_strides(self)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """The learning rate is a function of the images seen, so there is no scheduler and nothing of it to save."""
        self.rate = self.settings.rate(self.trainer.global_step * self.batch_size, self.batch_size, self.budget)
        set_rate(optimizer, self.rate)
        optimizer.step(closure=optimizer_closure)
        for layer in self.constrained:
            layer.constrain()
        self.stepped = True

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """As the optimizer's settings say, or a Trainer of one's own."""
        self.grad_norm = clip_(gradients_of(optimizer), self.settings.clip if gradient_clip_val is None else None)
        if gradient_clip_val is not None:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        if self.logging:
            self.log_dict({"grad_norm": self.grad_norm, "lr": self.rate})

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch, but not its index, which the CPU's random numbers need. Raises DataError: no such batch."""
        return batches.moved(batches.named(batch, self.labelled), device)
