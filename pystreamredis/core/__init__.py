"""The meaning of replies, and the next commands: no sockets, no clocks, no threads."""
