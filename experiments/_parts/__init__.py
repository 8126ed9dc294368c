"""What single experiments need beside their figures."""
