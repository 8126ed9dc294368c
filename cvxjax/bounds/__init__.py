"""What a network could still gain from one more neuron: max over ||u|| <= 1.

`exact` finds it for data of rank three or less, `bounds` bounds it from above for any
rank, and `search` finds neurons that come close, from below.
"""
