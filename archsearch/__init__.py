"""Finds out, by experiment, which neural-network architecture fits a task and how it scales."""
