"""The only error of the wire format: bytes that are not valid RESP."""


class ProtocolError(ValueError):
    """The bytes received are not RESP, or not the reply that was asked for.

    The parser that raised it has lost its place in the byte stream: every later
    call raises the same error again, and the connection is of no more use.

    Attributes:
        offset: Position of the first byte of the line that is wrong, or of the two bytes that
            are not the CRLF of a string, among all bytes that the parser was fed. Where the
            bytes are RESP, but not the reply that was asked for, the position after them.
            None if no parser has raised the error.
    """

    offset: int | None = None
