"""Start a job of two processes on this machine, with the variables that torchrun sets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path


def run_two_processes(*arguments: str) -> None:
    """Run `python ARGUMENTS` twice, as ranks 0 and 1 on the CPU; raise if one fails."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    common = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
    }
    command = [sys.executable, *arguments]
    jobs = [
        subprocess.Popen(command, env=common | {"RANK": rank, "LOCAL_RANK": rank}) for rank in "01"
    ]
    try:
        assert [job.wait(timeout=300) for job in jobs] == [0, 0]
    finally:
        for job in jobs:
            job.kill()
