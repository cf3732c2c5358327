"""Stand-ins for the few ComfyUI modules that the nodes import, for machines that have no ComfyUI."""
