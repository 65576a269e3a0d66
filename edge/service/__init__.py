"""The daemon and the gateway as services of systemd."""
