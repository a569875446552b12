"""Faster kernels and allocation for CPUs; nothing else knows of them."""
