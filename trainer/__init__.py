"""From photographs of good parts to a trained network and its bundle."""
