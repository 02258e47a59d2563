"""What is true: split rules on the world's own cost function, the account of each window, and its rows."""

from tpb_sim.truth.account import Amount, RequestAmounts, WindowAccount
from tpb_sim.truth.residence import Stays
from tpb_sim.truth.rules import RULES
from tpb_sim.truth.tables import REQUEST_COLUMNS, PhaseTruth, Truth, truth_of

__all__ = ["REQUEST_COLUMNS", "RULES", "Amount", "PhaseTruth", "RequestAmounts", "Stays", "Truth", "WindowAccount", "truth_of"]
