"""Connections and waiting, for threads and for asyncio."""
