"""The cache of responses in applications of Starlette and FastAPI, with the middleware and responses that they have."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("fastapi", reason="FastAPI is not installed: pip install '.[integrations]'")
pytest.importorskip("httpx", reason="httpx is not installed: pip install '.[integrations]'")

from fastapi import FastAPI, Response
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from shmstore.integrations.asgi import ResponseCache

FRESH = {"Cache-Control": "public, max-age=60"}


def test_fastapi_with_compression(key: str) -> None:
    computed = []
    app = FastAPI()

    @app.get("/items/{number}")
    def item(number: int, response: Response) -> dict[str, Any]:
        computed.append(number)
        response.headers.update(FRESH)
        return {"number": number, "text": "x" * 2000}

    app.add_middleware(GZipMiddleware, minimum_size=100)
    app.add_middleware(ResponseCache, name=key, size="4M")  # type: ignore[arg-type]
    client = TestClient(app)
    for encoding in ("gzip", "identity"):
        found = [client.get("/items/7", headers={"Accept-Encoding": encoding}) for _ in range(2)]
        assert found[0].json() == found[1].json() == {"number": 7, "text": "x" * 2000}
        assert [one.headers.get("content-encoding") for one in found] == ["gzip" if encoding == "gzip" else None] * 2
    assert computed == [7, 7] and client.get("/items/8").json()["number"] == 8
    assert client.get("/items/x").status_code == 422


def test_files_streams_and_errors(key: str, tmp_path: Any) -> None:
    (tmp_path / "file").write_bytes(b"f" * 100_000)
    asked: list[str] = []

    def file(request: Any) -> Any:
        asked.append("file")
        return FileResponse(tmp_path / "file", headers=FRESH)

    def stream(request: Any) -> Any:
        asked.append("stream")
        return StreamingResponse(iter([b"a", b"b"] * 10), headers=FRESH)

    def error(request: Any) -> Any:
        asked.append("error")
        raise RuntimeError("error")

    app = Starlette(routes=[Route("/file", file), Route("/stream", stream), Route("/error", error)])
    app.add_middleware(ResponseCache, name=key, size="4M")  # type: ignore[arg-type]
    client = TestClient(app, raise_server_exceptions=False)
    for _ in range(2):
        assert client.get("/file").content == b"f" * 100_000
        assert client.get("/stream").content == b"ab" * 10
        assert client.get("/error").status_code == 500
    assert client.get("/file", headers={"Range": "bytes=0-9"}).content == b"f" * 10
    assert client.head("/file").headers["content-length"] == "100000"
    assert client.get("/file", headers={"If-None-Match": client.get("/file").headers["etag"]}).status_code == 304
    assert asked == ["file", "stream", "error", "error", "file"]


def test_sessions_are_for_one_user(key: str) -> None:
    def visits(request: Any) -> Any:
        request.session["visits"] = request.session.get("visits", 0) + 1
        return JSONResponse(request.session["visits"])

    app = Starlette(routes=[Route("/", visits)])
    app.add_middleware(SessionMiddleware, secret_key="secret")
    app.add_middleware(ResponseCache, name=key, size="4M", ttl=60)  # type: ignore[arg-type]
    one, two = TestClient(app), TestClient(app)
    assert [one.get("/").json(), one.get("/").json(), two.get("/").json(), one.get("/").json()] == [1, 2, 1, 3]
