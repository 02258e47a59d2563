"""The other processes of tensor parallelism."""


class Ranks:
    """Placeholder."""
