"""The private parts of Lightning that a run replaces, each with its version and reason.

Measured on one core (torch 2.14, no GPU): reading the signature of training_step at each step costs 11 us, Lightning's
profiler that does nothing 20 us, the fused optimizer's search for a CUDA driver 50 us. A step on the digits takes
tens of milliseconds, so none of them is worth a patch: a patch stays only for correctness, or for 2 % of that step.
"""

import lightning.pytorch as pl


def leave_signals_to_preemption(trainer: pl.Trainer) -> None:
    """Keep Lightning (2.6) from handling SIGTERM; `callbacks.preemption` does.

    Its handler communicates with other ranks inside the signal handler, which can hang; and at each step of several
    processes it broadcasts whether a signal came, which waits for the device.
    """
    trainer._signal_connector.register_signal_handlers = lambda: None
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None
