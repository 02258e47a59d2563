"""Prompt sources of tpb: `builtin`, `file` and `synthetic`."""
