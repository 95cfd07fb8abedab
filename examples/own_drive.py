"""A needle drive of your own: how to speak to its controller. Named in examples/rig_serial.toml.

The controller that is spoken to here is made up. It counts micrometres, and its lines end in CR LF:
`WHO?`, `POS?` (place, speed, 1 or 0 for on, number of its fault), `ON`, `GO speed milliseconds`, `HALT`, `CLEAR`.
It must stop by itself once the milliseconds are over. One that does not cannot be used.
"""

from sonosteer.robots.line_protocol import LineAnswer

FAULTS = {1: ("following error", "the axis is blocked"), 2: ("end of travel", "a switch"), 3: ("watchdog", "too late")}


class OwnDrive:
    terminator = b"\r\n"

    def identify(self):
        return b"WHO?"

    def status(self):
        return b"POS?"

    def enable(self):
        return b"ON"

    def move(self, speed_mm_s, lasts_s):
        return b"GO %d %d" % (round(1e3 * speed_mm_s), int(1e3 * lasts_s))

    def stop(self):
        return b"HALT"

    def reset(self):
        return b"CLEAR"

    def answer(self, request, line):
        text = line.decode("ascii")
        if text.startswith("NO "):
            return LineAnswer(refused=text[3:])
        if request != b"POS?":
            return LineAnswer(text=text)
        place, speed, on, fault = map(int, text.split())
        wrong = FAULTS.get(fault, ("drive fault", f"number {fault}")) if fault else None
        return LineAnswer(depth_mm=1e-3 * place, speed_mm_s=1e-3 * speed, ready=on == 1, fault=wrong)


def main():
    """Show what is said and understood, without a controller."""
    drive = OwnDrive()
    print(drive.move(5.0, 0.12))
    said = drive.answer(drive.status(), b"12500 5000 1 0")
    print(f"depth {said.depth_mm:g} mm, {said.speed_mm_s:g} mm/s, ready: {said.ready}")
    return said.depth_mm


if __name__ == "__main__":
    main()
