"""The room of the report: from what runs left on disk to one HTML page that needs nothing else.

`compose` is handed runs, found and named by whoever calls, and gives the page as text: below five million bytes,
without a network, and with no text of a run taken for markup. It reads metrics.jsonl, evaluation/ and samples/ of each
run, whole or still being written, and imports no torch.
"""

from mezzotint.report.page import LIMIT, Report, compose
from mezzotint.report.summary import Entry

__all__ = ["LIMIT", "Entry", "Report", "compose"]
