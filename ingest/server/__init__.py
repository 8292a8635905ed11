"""Intake over HTTP and WebSocket."""
