"""What to send, and what replies mean: no sockets, no clocks, no threads."""
