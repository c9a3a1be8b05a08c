"""The commands that call a running service: each is a call of the client library, and a form of its answer."""
