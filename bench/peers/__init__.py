"""Job queues on the same work: one job a request, as one writes it first. ``make bench-peers`` installs them."""
