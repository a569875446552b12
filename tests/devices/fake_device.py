"""A device that computes on the CPU and behaves as a GPU does: no driver is needed, and every number is real.

Its tensors refuse to meet tensors of the CPU. Each time that the host would wait for the device is noted with the line
of the package that caused it. Backward passes and optimizers work. `python FILE` scripts use it, since the device's
name stays registered in a process; `install` does that.
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

aten = torch.ops.aten
WAITING = {  # their result has a size or a value that the host must know
    aten._local_scalar_dense.default,
    aten.is_nonzero.default,
    aten.equal.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.bincount.default,
    aten.repeat_interleave.Tensor,
}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
STRICT = {aten.cat.default, aten.stack.default}  # take no scalar of the CPU among others


class DeviceTensor(Tensor):
    """A tensor of the CPU, `raw`, that says it lies on another device."""

    raw: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, raw: Tensor, device: torch.device) -> "DeviceTensor":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            raw.size(),
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=device,
            requires_grad=raw.requires_grad,
        )
        made.raw = raw.detach()
        return made

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self) -> str:
        return f"DeviceTensor({self.raw}, {self.device})"

    def __tensor_flatten__(self) -> tuple[list[str], Any]:
        return ["raw"], self.device

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], device: torch.device, size: Any, stride: Any) -> "DeviceTensor":
        return DeviceTensor(inner["raw"], device)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} on a tensor of a FakeDevice outside of it")


def tensors(values: Any) -> Iterator[Tensor]:
    """The tensors among an operation's arguments, which nest in lists alone."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors(value)


def mapped(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Change the tensors of an argument or a result; torch's own walk takes half of the time of these tests."""
    if isinstance(value, Tensor):
        return change(value)
    return type(value)(mapped(change, item) for item in value) if isinstance(value, list | tuple) else value


def raw_of(tensor: Tensor) -> Tensor:
    return tensor.raw if isinstance(tensor, DeviceTensor) else tensor


class FakeDevice(TorchDispatchMode):
    """Runs what is called within it on a device of this name.

    Args:
        name: such as "cuda" or "mps" (without backward passes), or the name that was given to `install`.
        float64: whether it has double precision, which Apple's GPUs have not.

    Attributes:
        waits: for each time that the host waited, the operation and the line of the package.
    """

    def __init__(self, name: str, float64: bool = True) -> None:
        super().__init__()
        self.device = torch.device(name, 0)
        self.float64 = float64
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = list(tensors((*args, *kwargs.values())))
        ours = [t for t in given if isinstance(t, DeviceTensor)]
        wanted = kwargs.get("device")
        here = bool(ours) if wanted is None else torch.device(wanted).type == self.device.type
        if not ours and not here:
            return func(*args, **kwargs)
        self._check(func, args, kwargs, given, ours, here)
        raw_args, raw_kwargs = mapped(raw_of, args), {key: mapped(raw_of, value) for key, value in kwargs.items()}
        if wanted is not None:
            raw_kwargs["device"] = torch.device("cpu")
        raw_kwargs.pop("pin_memory", None)
        out = func(*raw_args, **raw_kwargs)
        if func in (aten._to_copy.default, aten.to.device) and out is (raw_args[0]):
            out = out.clone()
        if func is aten.copy_.default and not isinstance(args[0], DeviceTensor):
            return args[0]
        if not here or (func in WAITING and not isinstance(out, Tensor)):
            return out
        wrapped = mapped(self._wrapped, out)
        return return_and_correct_aliasing(func, args, kwargs, wrapped) if ours else wrapped

    def _wrapped(self, raw: Tensor) -> DeviceTensor:
        if raw.dtype == torch.float64 and not self.float64:
            raise TypeError(f"{self.device.type} has no float64{self._where()}")
        return DeviceTensor(raw, self.device)

    def _check(self, func: Any, args: Any, kwargs: Any, given: list[Tensor], ours: list[Any], here: bool) -> None:
        if func is aten._to_copy.default:
            if bool(ours) != here and not (here and kwargs.get("non_blocking")):
                self._wait(f"copy to {'the device' if here else 'the CPU'}")
            return
        if func is aten.copy_.default:
            target, source = args[:2]
            down, up = (isinstance(t, DeviceTensor) for t in (source, target))
            if down != up and not (up and (kwargs.get("non_blocking") or args[2:3] == (True,))):
                self._wait(f"copy to {'the device' if up else 'the CPU'}")
            return
        for other in given:
            if not isinstance(other, DeviceTensor) and (other.ndim or func in STRICT or not ours):
                raise RuntimeError(
                    f"{func}: a tensor of the CPU, {tuple(other.shape)}, meets the device{self._where()}"
                )
        if func in WAITING or (func in INDEXING and any(t.dtype == torch.bool for t in ours[1:])):
            self._wait(str(func))

    def _wait(self, why: str) -> None:
        self.waits.append(why + self._where())

    def _where(self) -> str:
        frames = [frame for frame in traceback.extract_stack() if "/mezzotint/" in frame.filename]
        if not frames:
            return " outside of the package"
        return f" in {frames[-1].filename.rpartition('/mezzotint/')[2]}:{frames[-1].lineno}: {frames[-1].line}"


class Backend:
    """What torch asks the module of a device for."""

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def is_initialized() -> bool:
        return True

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.bfloat16]

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        """The CPU's generator draws."""

    @staticmethod
    def get_rng_state(device: Any = None) -> Tensor:
        return torch.zeros(1, dtype=torch.uint8)

    @staticmethod
    def set_rng_state(state: Tensor, device: Any = None) -> None:
        """The CPU's generator draws."""


def install(name: str) -> None:
    """Register a device of this name with this process, with which backward passes work."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(name, Backend)
    torch.autograd.set_multithreading_enabled(False)


def without_driver() -> None:
    """Keep torch.cuda of this process from looking for a driver."""
    torch._C._ensureCUDADeviceGuardSet()
    torch.cuda._lazy_init = lambda: None
    torch.cuda.get_rng_state, torch.cuda.set_rng_state = Backend.get_rng_state, Backend.set_rng_state


@contextmanager
def autocast_to_bfloat16(name: str) -> Iterator[None]:
    """Autocast of a device that this machine lacks, where `torch.autocast` would switch itself off."""
    torch.set_autocast_enabled(name, True)
    torch.set_autocast_dtype(name, torch.bfloat16)
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(True)
        torch.set_autocast_enabled(name, False)
