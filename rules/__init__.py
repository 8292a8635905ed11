"""Protocols as data, their evaluation, the alert lifecycle and the explanation of an alert."""
