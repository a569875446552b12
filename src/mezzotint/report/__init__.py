"""The HTML report: one self-contained page from the files of one or several runs.

`compose` takes runs that the caller has found and named, and returns the page as text: below five million bytes,
loading nothing from the network, and with all text of a run escaped. It reads metrics.jsonl, evaluation/ and samples/
of each run, which may still be training, and does not import torch.
"""

from mezzotint.report.page import LIMIT, Report, compose
from mezzotint.report.summary import Entry

__all__ = ["LIMIT", "Entry", "Report", "compose"]
