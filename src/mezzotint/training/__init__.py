"""Training: a LightningModule that is a hinge, and callbacks that do the rest, one a file.

`fit` trains a run or resumes it. Everything is counted in images seen, and every random number has a name: nothing
but weights, averages, the optimiser's moments and the open window of the log has to be saved, and a run that was killed
goes on as if it had not been.

What a config names (AdamW, Hardware, EMA, Log, ...) imports no lightning, so that naming it costs nothing. One
Lightning callback, the Bridge in bridge.py, calls the hooks of ours once per optimiser step; Lightning's own callbacks
and loggers may stand beside them.
"""

from mezzotint.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "optimizers": "AdamW",
        "tracking.tracker": "CSV RunInfo Tracker",
        "callbacks.base": "Callback Score TrainingRun",
        "callbacks.checkpoints": "Checkpoints",
        "callbacks.ema": "EMA",
        "callbacks.nan_guard": "NaNGuard",
        "hardware.hardware": "Hardware",
        "callbacks.histograms": "Histograms",
        "callbacks.sample_metrics": "SampleMetrics",
        "evaluation_plan": "EvaluationPlan",
        "callbacks.log": "Log",
        "module": "DiffusionModule",
        "callbacks.preemption": "Preemption",
        "callbacks.preview": "Preview",
        "callbacks.progress": "Progress",
        "tracking.tensorboard": "TensorBoard",
        "callbacks.validation": "Validation",
        "tracking.wandb": "WandB",
        "fitting": "fit",
    },
)
