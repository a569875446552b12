"""Experiment trackers: CSV, TensorBoard, Weights & Biases."""
