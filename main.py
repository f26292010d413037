"""The governor as an ASGI application: ``uvicorn main:app --port 8000``."""

from aegis_core.api.app import create_app
from aegis_core.settings import load_settings

app = create_app(load_settings(working_directory=True))
