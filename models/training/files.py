"""Files that are whole or not there."""

from models.loading.atomic_files import replacing as whole

__all__ = ["whole"]
