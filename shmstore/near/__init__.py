"""Near caches: a store of this host in front of a Redis or Valkey server.

The server has the truth. The store has copies of what this host has read, and one process of each host, the listener, removes a
copy when the server says that its key was written. docs/model/near.pml is the model of all this.

``values`` is the format of the values in the server. ``backing`` talks to the server. ``state`` is what the processes of a host
share besides the copies. ``stream``, ``listener`` and ``starting`` are the listener. ``cache`` is the class NearCache, which
``shmstore.Cache`` returns if it is given a ``backing``.
"""
