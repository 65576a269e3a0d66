"""NVIDIA GPUs: what is there, and what runs on them."""
