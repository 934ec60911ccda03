"""Readouts that are solved for instead of trained: `fit: ridge | svm | convex | random_features`."""

from archsearch.training.fitting.fit import fit_readout

__all__ = ["fit_readout"]
