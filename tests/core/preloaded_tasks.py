"""Tasks of Celery, whose worker loads this and then forks its pool. Queue and results are folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery

FOLDER = Path(os.environ["CELERY_FOLDER"])


def made() -> Any:
    """The application, for the worker and for who sends tasks."""
    app: Any = Celery("preloaded", broker="filesystem://", backend=f"file://{FOLDER}")
    folders = ("data_folder_in", "data_folder_out", "control_folder")
    app.conf.broker_transport_options = dict.fromkeys(folders, str(FOLDER))
    return app


app = made()


@app.task(name="spend")
def spend() -> str:
    """Pay once, and say which process did."""
    from tests.core import preloaded

    return preloaded.spend()


if os.environ.get("CELERY_LOADS"):
    from tests.core import preloaded  # noqa: F401 - it connects, before the pool is forked
