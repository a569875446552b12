"""What a run leaves behind: samples, evaluations, summaries, trackers' notes."""
