"""The averaged weights of an autoencoder, written for `codec.run=` at the end of training."""

import json
from typing import Any

import torch

from mezzotint.atomic import atomic_path
from mezzotint.data.codecs.autoencoder import CONFIG, OF_RUN, WEIGHTS
from mezzotint.data.dataset import codec_of
from mezzotint.devices import finest
from mezzotint.errors import ConfigError
from mezzotint.networks import Autoencoder
from mezzotint.training.callbacks.base import Callback
from mezzotint.training.training_run import TrainingRun


class AutoencoderExport(Callback):
    """Writes autoencoder/ of the run at the end of training: the averaged weights in the format of diffusers.

    The config holds shift and scaling by which latents of training images have zero mean and unit deviation.

    Args:
        images: training images that these are measured on.
    """

    def __init__(self, images: int = 1024) -> None:
        if images < 1:
            raise ValueError(f"images={images}: give at least one")
        self.images = images

    def finish(self, run: TrainingRun) -> None:
        network = run.average().network
        if run.rank:
            return
        if not isinstance(network, Autoencoder):
            raise ConfigError(f"callbacks: AutoencoderExport writes an Autoencoder, not a {type(network).__name__}")
        from safetensors.torch import save_file

        shift, scaling = self.factors(run, network)
        config = network.description() | {"shift_factor": shift, "scaling_factor": scaling}
        with atomic_path(run.directory / OF_RUN) as part:
            part.mkdir()
            state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
            save_file(state, part / WEIGHTS)
            (part / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    @torch.no_grad()
    def factors(self, run: TrainingRun, network: Any) -> tuple[float, float]:
        """Return the mean of the latents of the first training images, and 1 / their deviation."""
        images, device = run.dataset.split("train"), run.module.device
        total, squares, count = 0.0, 0.0, 0
        for indices in torch.arange(min(self.images, len(images))).split(64):
            x = codec_of(run.dataset).encode(images.batch(indices)[0]).to(device)
            posterior = network.encode(x)
            mean, variance = finest(posterior.mean), finest(posterior.logvar).exp()
            total += float(mean.sum())
            squares += float((mean.square() + variance).sum())
            count += mean.numel()
        shift = total / count
        return shift, (squares / count - shift**2) ** -0.5
