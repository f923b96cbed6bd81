"""`pystreamredis.io.forks`: a child knows that it is one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
def test_a_fork_is_noticed() -> None:
    code = (
        "import os\n"
        "from pystreamredis.io import forks\n"
        "pid = os.fork()\n"
        "if not pid: os._exit(forks.generation)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), forks.generation)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
def test_a_fork_of_a_fork_is_another_generation() -> None:
    code = (
        "import os\n"
        "from pystreamredis.io import forks\n"
        "for _ in range(3):\n"
        "    if pid := os.fork():\n"
        "        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "os._exit(forks.generation)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 3


def test_a_system_without_forks_has_one_generation() -> None:
    code = (
        "import os\n"
        "vars(os).pop('register_at_fork', None)\n"
        "from pystreamredis.io import forks\n"
        "print(forks.generation)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
