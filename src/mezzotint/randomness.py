"""Keyed randomness: every random number is a function of (seed, purpose, counters, global index) alone.

The numbers are independent of the batch split, the rank, the number of workers and the order of calls. The generator is
splitmix64 (Steele et al. 2014, https://doi.org/10.1145/2714064.2660195), one stream per index, in
int64 tensors, whose products wrap around on every device; normals use the Box-Muller transform.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mezzotint.devices import has_float64

_LOW = 0xFFFFFFFF


def _signed(v: int) -> int:
    """Return the int64 with the bits of an unsigned 64-bit number."""
    return v - (1 << 64) if v >= 1 << 63 else v


_GAMMA = _signed(0x9E3779B97F4A7C15)
_M1 = _signed(0xBF58476D1CE4E5B9)
_M2 = _signed(0x94D049BB133111EB)


def _mix(z: Tensor) -> Tensor:
    """The finaliser of splitmix64, in place; the mask makes the arithmetic shift a logical one.

    On a CPU, numpy operates on the same memory, unsigned and without masks, in a third of the time for small batches.
    """
    if z.device.type == "cpu":
        bits = z.numpy().view("uint64")
        bits ^= bits >> 30
        bits *= _M1 % (1 << 64)
        bits ^= bits >> 27
        bits *= _M2 % (1 << 64)
        bits ^= bits >> 31
        return z
    t = z >> 30
    t &= (1 << 34) - 1
    z ^= t
    z *= _M1
    torch.bitwise_right_shift(z, 27, out=t)
    t &= (1 << 37) - 1
    z ^= t
    z *= _M2
    torch.bitwise_right_shift(z, 31, out=t)
    t &= (1 << 33) - 1
    z ^= t
    return z


@lru_cache(maxsize=4096)
def _key(seed: int, purpose: str, counters: tuple[int, ...]) -> int:
    name = "/".join([str(seed), purpose, *map(str, counters)])
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)


def _streams(index: Tensor, key: int) -> Tensor:
    """Return the random start of the stream of each index."""
    return _mix((index * _GAMMA).add_(key))


@lru_cache(maxsize=16)
def _strides(count: int, device: torch.device) -> Tensor:
    """Return the offsets of numbers 1 .. count of a stream from its start; int64 (count,)."""
    return torch.arange(1, count + 1, device=device) * _GAMMA


def _unit(bits: Tensor) -> Tensor:
    """Map 64 random bits to float64 in (0, 1), the centres of 2^52 equal cells."""
    return bits.bitwise_and_((1 << 52) - 1).double().add_(0.5).mul_(2.0**-52)


def permutation(seed: int, purpose: str, n: int, *counters: int) -> Tensor:
    """Return a permutation of 0..n-1 as a function of (seed, purpose, counters); int64 (n,)."""
    return _streams(torch.arange(n), _key(seed, purpose, counters)).argsort(stable=True)


@dataclass(frozen=True, eq=False)
class KeyedRandom:
    """Keyed random numbers for a batch of examples.

    Args:
        seed: the seed of the run.
        index: global index of each example, (B,) int64. Numbers are computed on its device: random bits are equal on
            all devices, and normals agree up to the rounding of log and cos.
    """

    seed: int
    index: Tensor

    def normal(self, purpose: str, shape: tuple[int, ...] | torch.Size, *counters: int) -> Tensor:
        """Return standard normal numbers, (B, *shape) float32."""
        n = math.prod(shape)
        half = -(-n // 2)
        starts = _streams(self.index, _key(self.seed, purpose, counters))
        bits = _mix(starts[:, None] + _strides(half, self.index.device))
        u = (bits & _LOW).float().add_(0.5).mul_(2.0**-32).clamp_(max=1.0 - 2.0**-24)
        angle = bits.bitwise_right_shift_(32).float().mul_(2.0 * math.pi * 2.0**-32)  # in [-pi, pi)
        radius = u.log_().mul_(-2.0).sqrt_()
        out = torch.cat([radius * angle.cos(), radius.mul_(angle.sin_())], 1)
        return out[:, :n].reshape(-1, *shape)

    def uniform(self, purpose: str, *counters: int) -> Tensor:
        """Return uniform numbers in (0, 1), (B,) float64."""
        return _unit(_streams(self.index, _key(self.seed, purpose, counters)))

    def stratified(self, purpose: str, strata: int) -> Tensor:
        """Return stratified uniform numbers, (B,) float64, example i in stratum i mod `strata`."""
        return (self.index.remainder(strata) + self.uniform(purpose)).div_(strata)

    def to(self, device: torch.device) -> KeyedRandom:
        """Return the same random numbers computed on a device; of one without float64, on the CPU."""
        if device == self.index.device or not has_float64(device):
            return self
        return KeyedRandom(self.seed, self.index.to(device, non_blocking=True))
