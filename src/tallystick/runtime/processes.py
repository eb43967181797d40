"""Processes that are not our children: found, signalled, waited for."""

import os
import time
from pathlib import Path

import psutil

_POLL = 0.02


def working_in(folder: Path, name: str) -> list[psutil.Process]:
    """Every process of that name whose working directory is the folder."""
    wanted = os.path.realpath(folder)
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.name().startswith(name) and process.cwd() == wanted:
                found.append(process)
        except psutil.Error:
            continue
    return found


def send(process: psutil.Process, number: int) -> None:
    """Send a signal; a process that is gone needs none."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def outliving(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait for the end of processes; those that still run after ``seconds`` are returned.

    A zombie has ended: these are not our children, and in a container nobody may reap them.
    """
    end = time.monotonic() + seconds
    while processes := [process for process in processes if _runs(process)]:
        if time.monotonic() > end:
            break
        time.sleep(_POLL)
    return processes


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
