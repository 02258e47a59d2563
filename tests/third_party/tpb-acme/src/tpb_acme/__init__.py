"""Acme's plugins for tpb."""
