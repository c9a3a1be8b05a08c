"""The batch release service: release requests in, release packages out, none lost, none made twice."""

__version__ = "0.1.0"
