"""The daemon, the gateway and the live page as services of systemd."""
