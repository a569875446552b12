"""Training: a LightningModule, callbacks, trackers, and `fit`, which trains a run or resumes it.

Everything is counted in images seen, and every random number has a name: only weights, averages, the optimizer's
moments and the open window of the log have to be saved, and a run that was killed goes on as if it had not been.

The callbacks are `lightning.pytorch.Callback`s for any Trainer. In `fit` one CallbackGroup calls them, once per
optimizer step; Lightning's own stand beside them. Settings (AdamW, Hardware) import no lightning.
"""

from mezzotint.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "optimizers": "AdamW",
        "torch_optimizer": "TorchOptimizer",
        "muon": "Muon",
        "parameter_groups": "ParameterRule",
        "lr_schedules": "ConstantLR CosineLR InverseSqrtLR LinearLR LRSchedule WarmupStableDecayLR",
        "tracking.csv_file": "CSV",
        "tracking.hooks": "RunInfo TrackerHooks",
        "tracking.tracker": "Tracker",
        "callbacks.base": "Callback",
        "training_run": "RunHooks Score TrainingRun",
        "callbacks.autoencoder_export": "AutoencoderExport",
        "callbacks.checkpoints": "Checkpoints",
        "callbacks.ema": "EMA",
        "callbacks.power_ema": "PowerEMA",
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
