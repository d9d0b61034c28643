"""Starts a script several times on this machine, as a cluster would on several."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable


def find_ports(count: int) -> list[int]:
    """Finds free ports of this machine."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(
    module: str, count: int, make_variables: Callable[[int], dict[str, str]]
) -> None:
    """Runs a module in several processes and ends as they do, with 1 if one fails.

    Args:
        module: Its name. All get the arguments of this process.
        count: How many.
        make_variables: Returns the environment variables of one, of its number.
    """
    running = []
    for number in range(count):
        environment = os.environ | make_variables(number)
        command = [sys.executable, "-m", module, *sys.argv[1:]]
        running.append(subprocess.Popen(command, env=environment))
    try:
        # Where one fails, the others would wait for it for ever.
        while not any(codes := [process.poll() for process in running]) and None in codes:
            time.sleep(0.1)
    finally:
        for process in running:
            process.kill()
    sys.exit(int(any(codes)))
