"""The frame of every experiment: flags, files, provenance, gallery, style."""
