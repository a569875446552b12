"""The environment of a training job: a GPU of its own, signals, and requeue."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig

from mezzotint.app.launch import gpus, ranks
from mezzotint.app.launch.hydra_hooks import in_sweep
from mezzotint.app.launch.requeue import requeue, wanted
from mezzotint.errors import ConfigError, DataError
from mezzotint.signals import REQUEUE_SIGNALS, Preempted, install_handlers, restore_handlers


@contextmanager
def launched() -> Iterator[None]:
    """Take a GPU, record signals, and requeue the job if it is preempted; each only where it applies."""
    if HydraConfig.get().runtime.choices.get("hydra/launcher") == "gpus":
        gpus.take()
    handlers = install_handlers(REQUEUE_SIGNALS)
    try:
        yield
    except Preempted as stop:
        restore_handlers(handlers)
        if wanted(stop):
            requeue(ranks.rank())
        raise
    except (ConfigError, DataError):
        raise
    except Exception:
        if in_sweep() and ranks.joined() and (ranks.rank() or "SUBMITIT_EXECUTOR" not in os.environ):
            traceback.print_exc()  # the other ranks wait for this one; only its end releases them
            sys.stderr.flush()
            os._exit(1)
        raise
    finally:
        restore_handlers(handlers)
