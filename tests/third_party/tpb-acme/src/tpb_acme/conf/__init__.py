"""Acme's presets."""
