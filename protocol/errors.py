"""What the wire format raises: bytes that are no RESP, and nothing else."""


class ProtocolError(ValueError):
    """The bytes received are not RESP, or not the reply that was asked for.

    The parser that raised it has lost its place in the byte stream: every later
    call raises the same error again, and the connection is of no more use.
    """
