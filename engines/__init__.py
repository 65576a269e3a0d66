"""What is deployed: the bundle on disk, and the engines that run it."""

__version__ = "0.1.0"
