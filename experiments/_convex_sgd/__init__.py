"""Convex programs trained by minibatches, beside networks: what figures share."""
