"""The tasks that test_celery.py sends to a worker with a pool of processes; broker and results are folders."""

import os

from celery import Celery

import shmstore

FOLDER = os.environ["TASKS_FOLDER"]
IN_FOLDERS = {
    "data_folder_in": f"{FOLDER}/queue",
    "data_folder_out": f"{FOLDER}/queue",
    "control_folder": f"{FOLDER}/control",
}

app = Celery("tasks", broker="filesystem://", backend=f"file://{FOLDER}/results")
app.conf.broker_transport_options = {**IN_FOLDERS, "polling_interval": 0.02}
shared = shmstore.Cache(os.environ["TASKS_CACHE"], size="16M")  # in the parent of the pool, before it forks


@shared.memoize
def compute(item):
    shared.incr(f"begun:{item}:{os.getpid()}")
    shared.wait(f"go:{item}")
    return 10 * len(item)


@app.task
def price(item):
    return compute(item)


@app.task
def nightly():
    with shared.lock("nightly"):
        shared.incr(f"begun:nightly:{os.getpid()}")
        shared.wait("go:nightly")
        return os.getpid()
