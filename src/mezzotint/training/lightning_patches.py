"""The private parts of Lightning and torch that a run replaces, each with its version and reason.

A patch stays for correctness, or for time that every step spends in vain. Measured on one core (torch 2.14, no GPU) and
left alone: reading the signature of training_step costs 11 us a step, Lightning's profiler that does nothing 20 us.
"""

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    import lightning.pytorch as pl


def leave_signals_to_preemption(trainer: "pl.Trainer") -> None:
    """Keep Lightning (2.6) from handling SIGTERM; `callbacks.preemption` does.

    Its handler communicates with other ranks inside the signal handler, which can hang; and at each step of several
    processes it broadcasts whether a signal came, which waits for the device.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None


def skip_search_for_cuda(optimizer: torch.optim.Optimizer) -> None:
    """Keep an optimizer of torch (2.14) from looking for CUDA's driver at each step where there is no accelerator.

    The search takes 0.05 ms in a loop and up to 0.5 ms in a run, a tenth of `benchmarks/overhead.py`.
    """
    if not torch.accelerator.is_available():
        optimizer._accelerator_graph_capture_health_check = lambda: None  # type: ignore[attr-defined]
