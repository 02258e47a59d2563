"""Composition of a run from groups, presets and overrides. The only place that knows Hydra."""
