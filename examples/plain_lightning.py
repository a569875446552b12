"""Own network, data module and Trainer with callbacks of mezzotint: python examples/plain_lightning.py [EPOCHS]"""

import sys

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger

from mezzotint.data import Digits
from mezzotint.diffusion import CosineSchedule, Denoiser, Objective, Velocity
from mezzotint.metrics import DigitsClassifier, FrechetDistance
from mezzotint.training import EMA, AdamW, DiffusionModule, Preview, SampleMetrics


class Network(torch.nn.Module):  # any module that takes noisy images (B, C, H, W) and times (B,)
    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.width = width  # kept under its name, so that a checkpoint says how to build the network
        self.layers = torch.nn.Sequential(torch.nn.Linear(65, width), torch.nn.SiLU(), torch.nn.Linear(width, 64))

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.cat([x.flatten(1), t[:, None]], dim=1)).reshape(x.shape)


class Data(L.LightningDataModule):  # batches of images, uint8 or floats in [-1, 1], or of pairs (image, label)
    def train_dataloader(self) -> torch.utils.data.DataLoader:
        return torch.utils.data.DataLoader(Digits().split("train").pixels, batch_size=64, shuffle=True)

    def val_dataloader(self) -> torch.utils.data.DataLoader:
        return torch.utils.data.DataLoader(Digits().split("test").pixels, batch_size=64)


def trainer(epochs: int, logger: WandbLogger) -> L.Trainer:
    fid = SampleMetrics(n=200, metrics=[FrechetDistance(DigitsClassifier())], reference=Digits().split("train"))
    stop = EarlyStopping("validation/loss", min_delta=0.01)
    best = ModelCheckpoint("plain", "best", monitor="validation/loss")
    callbacks = [EMA(), fid, Preview(), stop, best, LearningRateMonitor()]
    return L.Trainer(max_epochs=epochs, default_root_dir="plain", logger=logger, callbacks=callbacks)


def main(epochs: int = 60) -> DiffusionModule:
    logger = WandbLogger(save_dir="plain", offline=True)
    module = DiffusionModule(Denoiser(Network(), CosineSchedule(), Velocity()), Objective(), AdamW())
    trainer(epochs, logger).fit(module, Data())  # until the validation loss improves by less than 0.01 in three epochs
    trainer(epochs + 1, logger).fit(module, Data(), ckpt_path="plain/best.ckpt", weights_only=True)  # from the best
    return DiffusionModule.load_from_checkpoint("plain/best.ckpt")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
