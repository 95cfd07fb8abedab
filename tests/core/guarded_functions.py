"""What a decoder may do wrong. Called by name in the child process of a `GuardedReader`."""

import os
import time

import numpy as np

from sonosteer.core.errors import InputError


def ramp(rows, columns):
    return np.arange(rows * columns, dtype=np.uint16).reshape(rows, columns)


def process():
    return np.array([os.getpid()], np.int32)


def refuse(text):
    raise InputError(text)


def break_down():
    raise KeyError("a\nb")


def compute_for_ever():
    while True:
        pass


def allocate(n_bytes):
    return np.ones(n_bytes, np.uint8)


def die():
    print("a library's own line")
    os.kill(os.getpid(), 11)


def wait():
    time.sleep(600)
