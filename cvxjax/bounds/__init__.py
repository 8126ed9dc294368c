"""What a network could still gain from one more neuron: max over ||u|| <= 1, certified.

`exact` finds it for data of rank three or less, `relaxed` bounds it from above for any
rank, `several_outputs` where neurons have several outputs. `solvers.columns.search`
finds neurons that come close, from below.
"""
