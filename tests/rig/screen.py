"""A picture of text, redrawn in place on a terminal, or plain lines where there is none."""
import os
import re
import shutil
import sys
import time

BOLD, DIM, RED, GREEN, YELLOW, BLUE = 1, 2, 31, 32, 33, 34
TERMINAL = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
COLOURS = TERMINAL and "NO_COLOR" not in os.environ


class Screen:
    """Shows pictures, and keeps the events above them."""

    def __init__(self):
        self._height = 0
        self._last = 0.0

    def __enter__(self):
        if TERMINAL:
            print("\x1b[?25l", end="")
        return self

    def __exit__(self, *error):
        if TERMINAL:
            print("\x1b[?25h", end="", flush=True)

    def show(self, elapsed, lines, plain):
        """Draws `lines` over the last picture; without a terminal, `plain` every 5 s."""
        if not TERMINAL:
            if time.monotonic() - self._last >= 5:
                self._last = time.monotonic()
                print(f"{elapsed:6.0f} s  {plain}", flush=True)
            return
        columns = shutil.get_terminal_size().columns
        # Each line ends with "clear to the right", the picture with "clear all below".
        text = "".join(f"{cut(line, columns - 1)}\x1b[K\n" for line in lines)
        up = f"\x1b[{self._height}A" if self._height else ""
        print(f"{up}\r{text}\x1b[J", end="", flush=True)
        self._height = len(lines)

    def event(self, elapsed, text):
        """A line that stays."""
        if TERMINAL:
            up = f"\x1b[{self._height}A\r\x1b[J" if self._height else ""
            print(f"{up}  {paint(DIM, f'{elapsed:4.0f} s')}  {text}", flush=True)
            self._height = 0
        else:
            print(f"{elapsed:6.0f} s  * {text}", flush=True)


def paint(colour, text):
    """The text in a colour, where there are colours."""
    return f"\x1b[{colour}m{text}\x1b[0m" if COLOURS else text


def cut(line, columns):
    """At most so many columns of it; escape sequences take none."""
    out, left = [], columns
    for piece in re.split(r"(\x1b\[[0-9;]*m)", line):
        if not piece.startswith("\x1b"):
            piece = piece[:left]
            left -= len(piece)
        out.append(piece)
    return "".join(out)


def sparkline(values):
    """A line of little bars."""
    top = max([*values, 1])
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * value / top))] for value in values)


def mib(size):
    """Bytes in MiB."""
    return f"{size / 1024 / 1024:.1f} MiB"
