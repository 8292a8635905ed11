"""What is measured: speed beside what the reader would otherwise use."""
