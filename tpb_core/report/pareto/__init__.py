"""Configurations side by side in energy and speed: which of them no other one beats in both."""
