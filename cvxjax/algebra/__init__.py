"""Linear algebra: ranks, bounds on rounding, coordinates and products of data."""
