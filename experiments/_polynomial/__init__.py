"""Parts of the polynomial CNN's figure."""
