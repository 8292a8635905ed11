"""The nurses' web application."""
