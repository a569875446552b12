"""Generation: from a denoiser to pictures. The engine that draws numbered samples, and the pictures of them.

Sample i of a seed is one image, whatever else is drawn beside it. Nothing here imports lightning; Pillow and numpy are
imported where a picture is made. Names are imported when they are first used: taking a picture apart needs no torch.
"""

from mezzotint.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "generator": "SampleGenerator SamplingRecipe Trajectory",
        "interpolation": "interpolate",
    },
)
