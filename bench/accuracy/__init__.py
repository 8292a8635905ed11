"""Accuracy on annotated ECG: every figure is a floor that may rise and never fall."""
