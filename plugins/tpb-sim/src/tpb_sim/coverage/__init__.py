"""Coverage studies: named worlds, what attributors and common practices say of them, and how often that holds the truth."""

from tpb_sim.coverage.estimates import Estimate
from tpb_sim.coverage.practices import OTHERS, estimates_of
from tpb_sim.coverage.study import study
from tpb_sim.coverage.tally import Row, Tally
from tpb_sim.coverage.verdict import breaches, markdown
from tpb_sim.coverage.worlds import Expectation, NamedWorld, named_world, world_names

__all__ = [
    "OTHERS", "Estimate", "Expectation", "NamedWorld", "Row", "Tally", "breaches", "estimates_of", "markdown", "named_world", "study",
    "world_names",
]  # fmt: skip
