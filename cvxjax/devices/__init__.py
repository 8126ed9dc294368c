"""Where programs run: threads, meshes of devices, several processes."""
