"""The terms of an objective: losses, regularisers, cones, spectra."""
