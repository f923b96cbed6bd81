"""The command ``pystreamredis``: streams at a shell's prompt, and in its pipes.

The way of the data: arguments -> `Streams` -> a format's lines -> output -> state.
Importing `pystreamredis` imports nothing of this.
"""
