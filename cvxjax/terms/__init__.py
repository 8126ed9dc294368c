"""The terms of a program: losses, regularisers, cones, and penalties on PSD pairs."""
