"""The station's figures for Prometheus, and whether it lives and is ready, over HTTP."""
