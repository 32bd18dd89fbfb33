"""The web application of ``campaign serve``."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from campaign.console.edge import Edge
from campaign.console.hooks import hooks_router
from campaign.domain.line import Line
from campaign.storage.engine import Store

DATABASE_SILENT = "the database does not answer"


def make_app(store: Store, lines: Mapping[str, Line]) -> FastAPI:
    """Webhooks for ``lines`` and ``/healthz``; nothing else, and no page that describes them."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.include_router(hooks_router(store, lines))

    @app.api_route("/healthz", methods=["GET", "HEAD"])
    async def health(_request: Request) -> JSONResponse:
        try:
            await run_in_threadpool(_ask, store)
        except Exception:  # noqa: BLE001 - whatever the driver raises, it means the same
            return JSONResponse({"error": DATABASE_SILENT}, 503)
        return JSONResponse({"ok": True})

    @app.exception_handler(404)
    @app.exception_handler(405)
    async def refused(_request: Request, error: Any) -> JSONResponse:
        words = {404: "there is nothing here", 405: "not with this method"}
        return JSONResponse({"error": words[error.status_code]}, error.status_code, headers=error.headers)

    app.add_middleware(Edge)
    return app


def _ask(store: Store) -> None:
    with store.read() as connection:
        store.now(connection)
        connection.exec_driver_sql("SELECT 1")
