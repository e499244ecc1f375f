"""A store in notebooks: kernels that are restarted, interrupted and killed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest

import shmstore

pytest.importorskip("nbclient", reason="nbclient is not installed: pip install '.[integrations]'")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: pip install '.[integrations]'")

import nbformat
from jupyter_client.manager import KernelManager, start_new_kernel
from nbclient import NotebookClient


def run(*cells: str) -> list[str]:
    """Execute a notebook in a new kernel; return what its cells print."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    return ["".join([output.get("text", "") for output in cell.outputs]) for cell in notebook.cells]


@pytest.fixture
def kernel() -> Iterator[tuple[KernelManager, Any]]:
    manager, client = start_new_kernel(kernel_name="python3")
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_notebooks_share_what_outlives_their_kernels(key: str) -> None:
    opened = f"import shmstore; store = shmstore.Store({key!r}, size='4M')"
    assert run(opened, "store['a'] = {'rows': [1, 2]}", "print(store['a'])") == ["", "", "{'rows': [1, 2]}\n"]
    shown = ["async def later():\n    return await store.aget_or_set('b', lambda: 7)", "print(await later())"]
    assert run(opened, "print(store['a']['rows'])", *shown) == ["", "[1, 2]\n", "", "7\n"]
    with shmstore.Store[Any](key) as store:
        assert dict(store) == {"a": {"rows": [1, 2]}, "b": 7}


def test_an_interrupted_cell_leaves_the_store_usable(key: str, kernel: tuple[KernelManager, Any]) -> None:
    manager, client = kernel
    store = shmstore.Store[Any](key, size="4M")
    client.execute_interactive(f"import shmstore; store = shmstore.Store({key!r})", timeout=60)
    request = client.execute("with store.lock('held'):\n    store['waits'] = 1\n    store.wait('never', after=0)")
    store.wait("waits", after=0, timeout=60)
    manager.interrupt_kernel()
    reply = client.get_shell_msg(timeout=60)
    assert reply["parent_header"]["msg_id"] == request and reply["content"]["ename"] == "KeyboardInterrupt"
    assert not store.lock("held").locked()
    assert (
        client.execute_interactive("store['after'] = 2", timeout=60)["content"]["status"] == "ok"
        and store["after"] == 2
    )


def test_a_killed_kernel_leaves_no_lock(key: str, kernel: tuple[KernelManager, Any]) -> None:
    manager, client = kernel
    store = shmstore.Store[Any](key, size="4M")
    client.execute(
        f"import shmstore; s = shmstore.Store({key!r}); s.lock('a').acquire(); s['held'] = 1; s.wait('never', after=0)"
    )
    store.wait("held", after=0, timeout=60)
    assert store.lock("a").locked()
    asyncio.run(manager.provisioner.send_signal(signal.SIGKILL))  # type: ignore[union-attr]
    with store.lock("a", timeout=60):
        assert store["held"] == 1
