"""Devices, precision, distributed strategy, memory."""
