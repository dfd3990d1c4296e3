"""Whom `make_figures.py` draws: the named networks of the command line, which finds them."""

from deconv.cli.networks import NETWORKS, Network
from deconv.cli.subjects import subject

__all__ = ["NETWORKS", "Network", "subject"]
