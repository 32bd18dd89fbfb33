"""The Celery edge: ``celery -A workers worker|beat|flower``. Thin tasks over the services, and the pace in Redis."""

from workers.app import app

__all__ = ["app"]
