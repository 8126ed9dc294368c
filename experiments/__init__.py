"""One module per figure; `python -m experiments list` names them."""
