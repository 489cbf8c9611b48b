"""A local directory or an S3 bucket behind one interface."""

from synthray.storage.base import Entry, Store
from synthray.storage.open import home, locate, newest, open_parent, open_store

__all__ = ["Entry", "Store", "home", "locate", "newest", "open_parent", "open_store"]
