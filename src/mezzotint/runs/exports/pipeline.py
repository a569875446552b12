"""A pipeline directory of diffusers: DDPMPipeline and DDIMPipeline open it with `from_pretrained`."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from mezzotint.diffusion import Clean, Epsilon, NoScale, StepIndex, Velocity
from mezzotint.errors import ConfigError
from mezzotint.runs.exports.formats import Exported, ExportFormat, require
from mezzotint.runs.exports.unet2d import twin

TOLERANCE = 1e-3  # of the largest output, between the network and the written files
PREDICTIONS = {Epsilon: "epsilon", Velocity: "v_prediction", Clean: "sample"}
OURS = ("mezzotint.runs.exports.diffusers_network", "PipelineNetwork")


class DiffusersPipeline(ExportFormat):
    """model_index.json, unet/ and scheduler/.

    A U-Net becomes a UNet2DModel where there is one that computes the same (see `twin`), which needs nothing but
    diffusers. Any other network stays as it is, in a class of this package, which a program must import first. Samples
    have no class: pipelines of diffusers pass none.
    """

    name = "diffusers"
    library = "diffusers"

    def check(self, model: Exported) -> None:
        require("format=diffusers", "diffusers")
        denoiser = model.denoiser
        wrong = ""
        if not denoiser.schedule.steps:
            wrong = f"schedule: {type(denoiser.schedule).__name__} has no steps; those of diffusers count"
        elif type(denoiser.target) not in PREDICTIONS:
            wrong = f"target: {type(denoiser.target).__name__} is no prediction_type of its DDPMScheduler"
        elif not isinstance(denoiser.c_noise, StepIndex) or not isinstance(denoiser.c_in, NoScale):
            wrong = "c_noise, c_in: its pipelines give a network the index of the step, and x as it is"
        elif getattr(denoiser.network, "self_conditioning", False) or model.network.get("learned_variance"):
            wrong = "network: its pipelines know neither self-conditioning nor DDIM with a learned variance"
        if wrong:
            raise ConfigError(f"format=diffusers: {wrong}. Use format=safetensors")

    def write(self, model: Exported, folder: Path) -> str:
        import diffusers

        network, steps = model.denoiser.network, model.denoiser.schedule.steps
        plain = twin(network)
        if plain:
            unet: Any = diffusers.UNet2DModel(**plain.config)
            unet.load_state_dict(plain.state)
        else:
            from mezzotint.runs.exports.diffusers_network import PipelineNetwork

            unet = PipelineNetwork(dict(model.network), network.shape[0], list(network.shape[1:]))
            unet.network.load_state_dict(network.state_dict())
        unet.eval().save_pretrained(folder / "unet")
        diffusers.DDPMScheduler(
            num_train_timesteps=steps,
            trained_betas=betas(model),
            prediction_type=PREDICTIONS[type(model.denoiser.target)],
            variance_type="fixed_small",
            clip_sample=model.clips and isinstance(model.denoiser.target, Epsilon),
            timestep_spacing="trailing",
        ).save_pretrained(folder / "scheduler")
        index = {
            "_class_name": "DDPMPipeline",
            "_diffusers_version": diffusers.__version__,
            "scheduler": ["diffusers", "DDPMScheduler"],
            "unet": ["diffusers", "UNet2DModel"] if plain else list(OURS),
        }
        (folder / "model_index.json").write_text(json.dumps(index, indent=2))
        kind = "UNet2DModel" if plain else "a network of mezzotint, which must be installed to open it"
        apart, largest = compared(model, folder, plain is not None)
        if not apart <= TOLERANCE * largest:
            raise ConfigError(
                f"format=diffusers: its network differs by {apart:g} in outputs of up to {largest:g}, so that it is "
                "not the same. Use format=safetensors"
            )
        return f"unet: {kind}; largest difference from the network {apart:g}"

    def usage(self, model: Exported) -> str:
        ours = "" if twin(model.denoiser.network) else f"import {OURS[0]}  # the class of the network\n"
        return (
            f"{ours}from diffusers import DDIMPipeline, DDPMPipeline\n\n"
            'images = DDIMPipeline.from_pretrained(".")(batch_size=16, num_inference_steps=50).images'
        )


def betas(model: Exported) -> list[float]:
    """The schedule as diffusers has it, beta_t = 1 - alpha_bar_t / alpha_bar_(t-1) for t = 1 .. T."""
    schedule = model.denoiser.schedule
    times = [float(t) for t in range(schedule.steps + 1)]
    levels = [schedule.level(t) for t in times]
    bars = [(level.alpha / level.norm) ** 2 for level in levels]
    if bars[-1] <= 0:
        raise ConfigError(
            "format=diffusers: the schedule ends at alpha=0, where a step of its DDPMScheduler is not defined. Use "
            "format=safetensors"
        )
    return [1 - after / before for before, after in pairwise(bars)]


def compared(model: Exported, folder: Path, plain: bool) -> tuple[float, float]:
    """The largest difference between the exported network and the original, without a class, and its largest output."""
    import diffusers

    if plain:
        unet: Any = diffusers.UNet2DModel.from_pretrained(folder / "unet")
    else:
        from mezzotint.runs.exports.diffusers_network import PipelineNetwork

        unet = PipelineNetwork.from_pretrained(folder / "unet")
    source = torch.Generator().manual_seed(0)
    x = torch.randn(3, *model.denoiser.network.shape, generator=source)
    time = torch.tensor([0.0, 17.0, 0.99 * model.denoiser.schedule.steps]).floor()
    with torch.no_grad():
        expected = model.denoiser.network(x, time)
        return float((unet.eval()(x, time).sample - expected).abs().max()), float(expected.abs().max())
