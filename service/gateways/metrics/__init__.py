"""Prometheus: the figures of a process, those of the whole, and the text that shows them."""
