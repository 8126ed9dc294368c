"""Parts of the quantized network's figure."""
