"""Energy from samples: counters, windows, regressions, ledgers, uncertainty. Arrays in, rows out; no I/O. Public for attributor authors.

Start at `run_energy.RunEnergy`, `domain_energy.domain_energy`, `ledger.balance_of` and `ledger.ledger_of`; the attributors of the
distribution `tpb-attributors` are short and show how these go together.
"""
