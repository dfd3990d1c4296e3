"""Atomic writing of files, for training."""

from models.loading.atomic_files import replacing as whole

__all__ = ["whole"]
