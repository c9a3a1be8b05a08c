"""Starts PostgreSQL and Valkey from wheels, for a machine that has neither.

``postgres`` and ``valkey`` are the two servers; ``server`` is the life that they share; ``process``,
``leftovers``, ``directories``, ``account`` and ``wheels`` are the pieces of it. Both listen on a unix socket
in a private directory and nowhere else, and both stop when the process that started them dies.
"""
