"""The price of one more ReLU neuron, max v^T (X u)_+ over ||u|| <= 1, certified.

`exact` finds it for data of rank three or less, `relaxed` bounds it from above for any
rank, `division` by the same on cones, of which a longer search makes more, and
`several_outputs` is for neurons with several outputs. Lower bounds are neurons:
`ascent` moves points to local maxima.
"""
