"""A learned noise schedule."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mezzotint.devices import finest, finest_dtype

from ..levels import NoiseLevel
from ..scalar_ops import Number
from .continuous import Schedule


class LearnedSchedule(nn.Module, Schedule):
    """log-SNR as a monotone network of t, decreasing between two learned ends; t = 0 itself is clean.

    log_snr(t) = high - (high - low) (g(t) - g(0)) / (g(1) - g(0)), g(t) = a t + sum_k c_k sigmoid(w_k t + b_k) with
    positive a, c, w. Variance preserving, t in [0, 1]. All of it is trained by gradients through the level.

    Source: Kingma et al. 2021, app. H, https://arxiv.org/abs/2107.00630

    Args:
        log_snr_max, log_snr_min: initial log-SNR at the ends of the noisy range; the paper uses 13.3 and -5.
        width: number of sigmoids.
    """

    positive = ("width",)

    def __init__(self, log_snr_max: float = 13.3, log_snr_min: float = -5.0, width: int = 64):
        super().__init__()
        if not log_snr_min < log_snr_max:
            raise ValueError(
                f"log_snr_max={log_snr_max} must be above log_snr_min={log_snr_min}: log-SNR decreases with time. "
                "Swap the two."
            )
        self.ends = nn.Parameter(torch.tensor([log_snr_max, log_snr_min], dtype=torch.float32))
        self.slope = nn.Parameter(torch.zeros(()))
        self.amplitudes = nn.Parameter(torch.full((width,), -4.0))  # nearly linear at first
        self.steepness = nn.Parameter(torch.full((width,), 3.0))
        self.offsets = nn.Parameter(torch.linspace(0.0, -3.0, width))

    def extra_repr(self) -> str:
        high, low = self.ends.tolist()
        return f"log_snr_max={high:g}, log_snr_min={low:g}, width={len(self.offsets)}"

    def log_snr(self, t: Tensor) -> Tensor:
        """Return log-SNR at times of any shape, in the finest type of their device; differentiable in both."""
        t = finest(t)
        at = torch.cat([t.reshape(-1), torch.arange(2, dtype=t.dtype, device=t.device)])
        inner = F.softplus(finest(self.steepness)) * at[:, None] + finest(self.offsets)
        g = F.softplus(finest(self.slope)) * at + inner.sigmoid() @ F.softplus(finest(self.amplitudes))
        high, low = finest(self.ends)
        return (high - (high - low) * (g[:-2] - g[-2]) / (g[-1] - g[-2])).reshape(t.shape)

    def level(self, t: Number) -> NoiseLevel:
        device = self.ends.device
        if isinstance(t, Tensor):
            t = t.to(finest_dtype(device)).to(device, non_blocking=True)
            noisy, clean = NoiseLevel.from_log_snr(self.log_snr(t)), t == 0
            return NoiseLevel(torch.where(clean, 1.0, noisy.alpha), torch.where(clean, 0.0, noisy.sigma))
        if t == 0:
            return NoiseLevel(1.0, 0.0)
        with torch.no_grad():
            return NoiseLevel.from_log_snr(
                float(self.log_snr(torch.full((1,), t, dtype=finest_dtype(device), device=device)))
            )

    def time(self, level: NoiseLevel) -> Number:
        """Return the time by 18 subdivisions into 8; differentiable in the level, not in the parameters."""
        target = torch.as_tensor(level.log_snr, dtype=finest_dtype(self.ends.device), device=self.ends.device)
        low, cuts = torch.zeros_like(target).reshape(-1, 1), torch.arange(1, 9, device=target.device) / 8.0
        with torch.no_grad():
            for k in range(18):
                at = low + finest(cuts) * 8.0**-k
                passed = self.log_snr(at.reshape(-1)).reshape(at.shape) > target.reshape(-1, 1)
                low = low + passed.sum(1, keepdim=True).clamp(max=7) * 8.0 ** -(k + 1)
        t = (low + 8.0**-18).reshape(target.shape)
        if target.requires_grad:  # by the inverse function's derivative, 1 / rate
            t = t + (target - target.detach()) / self.rate(t).detach()
        return t if level.batched else float(t)

    def __call__(self, t: Number) -> NoiseLevel:
        return self.level(t)
