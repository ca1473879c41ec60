"""Measures Sluice. Figures are compared within one run only: ratios hold when a machine's speed drifts."""
