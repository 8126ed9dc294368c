"""Linear algebra, and decisions of rank and rounding, below every room."""
