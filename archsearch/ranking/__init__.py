"""Ranks, confidence sets and Pareto layers: plain numbers, without torch."""

from archsearch.ranking.pareto import pareto_layers
from archsearch.ranking.ranks import SECTIONS, Entry, Ranked, Section, rank
from archsearch.ranking.sets import RankSet, rank_sets
from archsearch.ranking.sizes import SizeReport, size_report, spearman
from archsearch.ranking.student import two_sided_p

__all__ = [
    "SECTIONS",
    "Entry",
    "RankSet",
    "Ranked",
    "Section",
    "SizeReport",
    "pareto_layers",
    "rank",
    "rank_sets",
    "size_report",
    "spearman",
    "two_sided_p",
]
