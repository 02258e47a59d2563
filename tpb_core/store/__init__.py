"""Bundles (Arrow and Parquet) and the database (DuckDB). Imports nothing by itself: the engine worker uses `spool` and `schema` only."""
