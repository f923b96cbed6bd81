"""The wire format alone: no sockets, no clocks, nothing of how streams are followed.

An encoder of commands and replies, an incremental parser of every RESP2 and RESP3 type, and
an incremental parser of XREAD replies. All of it is usable by itself: nothing in
here imports another module of pystreamredis.
"""

from .encoder import encode, encode_command, encode_xread
from .errors import ProtocolError
from .messages import MessageFactory, Unmade, stream_replies_of
from .parser import Parser
from .values import NEED_DATA, Map, NeedData, Push, ServerError, Set, Typed, VerbatimString
from .xread import XreadParser

__all__ = [
    "NEED_DATA",
    "Map",
    "MessageFactory",
    "NeedData",
    "Parser",
    "ProtocolError",
    "Push",
    "ServerError",
    "Set",
    "Typed",
    "Unmade",
    "VerbatimString",
    "XreadParser",
    "encode",
    "encode_command",
    "encode_xread",
    "stream_replies_of",
]
