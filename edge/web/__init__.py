"""The live page: a process of its own that subscribes to the daemon and shows people what it says."""
