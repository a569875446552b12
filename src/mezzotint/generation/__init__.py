"""Sampling: numbered samples from any denoiser, sampler and grid.

Sample i of a seed is one image, independent of the other samples, the batch and the number of processes. Nothing here
imports lightning. Names are imported on first use.
"""

from mezzotint.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "conditions": (
            "ConditionPlan ExampleConditions GivenConditions held_out_conditions null_conditions stored_values"
        ),
        "editing.base": "Edits EditTask Given",
        "editing.generator": "EditGenerator GivenExamples",
        "editing.problems": "Colorization Deblurring Inpainting InverseProblem Restoration SuperResolution",
        "editing.transforms": "Interpolation Inversion SDEdit Variation",
        "generator": "SampleGenerator SamplingRecipe Trajectory",
        "interpolation": "interpolate",
    },
)
