"""Subjects of `make_figures.py`: the named networks of the command line."""

from deconv.cli.named_networks import NETWORKS, Network
from deconv.cli.subject_builder import subject

__all__ = ["NETWORKS", "Network", "subject"]
