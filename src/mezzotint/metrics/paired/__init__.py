"""Metrics that compare each sample with the true example of its conditions."""
