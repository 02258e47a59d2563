"""Runs held against each other: ratios with intervals in which only errors of the same sensor cancel, and what else differed."""
