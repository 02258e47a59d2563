"""Finding out about sensors: loads that are switched, the runs in which they are, and what is computed from such a run."""
