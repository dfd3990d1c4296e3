"""Whom `make_figures.py` draws: the named networks of the command line, which finds them."""

from deconv.cli.named_networks import NETWORKS, Network
from deconv.cli.subject_builder import subject

__all__ = ["NETWORKS", "Network", "subject"]
