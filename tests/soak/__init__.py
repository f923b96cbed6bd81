"""The campaign: writers and readers under random faults, and a count of what went wrong.

``python -m tests.soak --duration 300 --seed 1``, or ``make soak``. How it works:

- `writer`: a thread for each server, which writes numbered messages to several streams
  at the server itself and never through a proxy.
- `reader`: processes that follow these streams, each through a proxy of its own or
  directly, with options that change every few seconds. A reader knows which number has to
  come next, so it notices by itself what is lost, repeated or out of order.
- `cancelling`: what some of them read with, for asyncio.
- `faults`: what is done to the proxies and to the servers meanwhile.
- `campaign`: starts all that, and at the end compares what the readers got with the
  truth: what XRANGE finds on the servers.
- `stopwatch`: what is bounded in time, measured before and meanwhile.
- `tables`: what came of it, for the documentation.
- `messages`: what is written, and how to tell that it came unchanged.
"""
