"""From scores of good parts to the threshold above which a part is rejected."""
