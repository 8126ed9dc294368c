"""The command line: what it reads, does and prints."""
