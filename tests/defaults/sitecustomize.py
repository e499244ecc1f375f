"""In programs that tests start: the memory that stores live in when they say nothing (conftest.py, backend)."""

import os

import shmstore.store

for _function in (shmstore.Store.__init__, shmstore.Cache.__init__, shmstore.open, shmstore.destroy):
    _function.__kwdefaults__["backend"] = os.environ["SHMSTORE_TESTS_BACKEND"]
