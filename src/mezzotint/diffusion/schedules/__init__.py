"""Noise schedules: alpha and sigma as functions of time, continuous or on a table."""
