"""One's own network, data module and Trainer, with callbacks of mezzotint and of Lightning side by side.

python examples/plain_lightning.py [DIRECTORY] [EPOCHS]
"""

import sys

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mezzotint.data import Digits, TensorImages
from mezzotint.diffusion import DDIM, CosineSchedule, Denoiser, Objective, Trailing, Velocity
from mezzotint.generation import SamplingRecipe
from mezzotint.metrics import DigitsClassifier, FrechetDistance
from mezzotint.training import EMA, AdamW, DiffusionModule, Preview, SampleMetrics


class Network(nn.Module):
    """Any module that takes noisy images (B, C, H, W) and times (B,) will do."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.width = width  # kept under its name, so that checkpoints know how to build the network again
        self.layers = nn.Sequential(nn.Linear(65, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.out = nn.Linear(width, 64)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.out(self.layers(torch.cat([x.flatten(1), t[:, None]], dim=1))).reshape(x.shape)


class Data(L.LightningDataModule):
    """Float images in [-1, 1] from torch's own loader, without numbers or labels."""

    def setup(self, stage: str) -> None:
        self.images = {name: every(Digits().split(name)) / 127.5 - 1 for name in ("train", "test")}

    def train_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(self.images["train"]), batch_size=64, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(self.images["test"]), batch_size=64)


def every(images: TensorImages) -> Tensor:
    return images.batch(torch.arange(len(images)))[0]


def trainer(directory: str, epochs: int) -> L.Trainer:
    sampling = SamplingRecipe(DDIM(), Trailing(20))
    metrics = {"fid": FrechetDistance(DigitsClassifier())}
    return L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=directory,
        logger=CSVLogger(directory),  # or WandbLogger(offline=True)
        callbacks=[
            EMA(),
            SampleMetrics(n=200, metrics=metrics, sampling=sampling, reference=Digits().split("train")),
            Preview(sampling=sampling),
            EarlyStopping("validation/loss", patience=2),
            ModelCheckpoint(directory, "best", monitor="validation/loss"),
            LearningRateMonitor(),
        ],
    )


def main(directory: str = "plain", epochs: int = 20) -> DiffusionModule:
    """Train, train on from the best checkpoint, and load the module from it."""
    module = DiffusionModule(Denoiser(Network(), CosineSchedule(), Velocity()), Objective(), AdamW())
    first = trainer(directory, epochs)
    first.fit(module, Data())
    print({name: f"{float(value):.4g}" for name, value in first.callback_metrics.items()})
    best = f"{directory}/best.ckpt"
    trainer(directory, epochs + 1).fit(module, Data(), ckpt_path=best, weights_only=True)
    return DiffusionModule.load_from_checkpoint(best)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
