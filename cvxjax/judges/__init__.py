"""Judges: a second implementation of each form for `certify`, in float64 NumPy."""
