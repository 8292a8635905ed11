"""One file for a step."""
