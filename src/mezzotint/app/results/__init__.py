"""Results of a run: samples, evaluations, summaries and trackers."""
