"""Tell setuptools where the packages are; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup

# In a clone, pystreamredis/protocol is a link to protocol/. With that link an editable install is
# a plain path, which mypy and pyright can follow. Git on Windows may write a text file in its
# place; there the wire format is taken from protocol/ itself.
HAS_LINK = (Path(__file__).parent / "pystreamredis" / "protocol").is_dir()

setup(package_dir={"": "."} if HAS_LINK else {"pystreamredis.protocol": "protocol"})
