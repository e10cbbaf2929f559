"""Runs a command on a terminal of its own and answers its questions.

stdin has JSON: the command, its environment, and steps, each a text to wait for and what to type then. stdout gets JSON: what
the terminal showed, the exit status as subprocess has it, and whether the terminal shows again what is typed.
"""

import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios
import time

LIMIT_SECONDS = 60


def main():
    asked = json.load(sys.stdin)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(asked["folder"])
        os.execve(asked["command"][0], asked["command"], asked["environment"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    shown, steps, seen = b"", list(asked["steps"]), 0
    started = time.monotonic()
    while time.monotonic() - started < LIMIT_SECONDS:
        ready, _, _ = select.select([terminal], [], [], 0.2)
        if ready:
            try:
                got = os.read(terminal, 65536)
            except OSError:
                break
            if not got:
                break
            shown += got
        if steps and steps[0][0].encode() in shown[seen:]:
            seen = len(shown)
            os.write(terminal, steps.pop(0)[1].encode())
    else:
        os.kill(child, 9)
    echoes = bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    json.dump({"shown": shown.decode(errors="replace"), "code": code, "echoes": echoes}, sys.stdout)


main()
