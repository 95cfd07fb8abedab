"""Listens to the tip on ROS 2 topics, and prints where it is and how well that is known.

Run beside `sonosteer bridge ros2 --tip igtl://localhost:18950`, with a Python that has ROS 2. Ctrl-C ends it.
"""

import contextlib

import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from std_msgs.msg import String

MAX_AGE_S = 0.5


class TipPrinter(Node):
    def __init__(self):
        super().__init__("tip_printer")
        self.create_subscription(PoseWithCovarianceStamped, "sonosteer/tip", self.on_tip, 1)
        self.create_subscription(String, "sonosteer/state", self.on_state, 1)
        self.state = None

    def on_state(self, message):
        """Say when the state changes. A tip that is lost, or stale, has no pose: the last one no longer holds."""
        if message.data != self.state:
            self.state = message.data
            print(self.state, flush=True)

    def on_tip(self, message):
        """A stamp of 0 says that nobody knows when the picture was acquired. Others tell the age of the pose."""
        stamp = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
        age_s = 1e-9 * self.get_clock().now().nanoseconds - stamp
        if stamp and age_s > MAX_AGE_S:
            print(f"too old: {age_s:.2f} s", flush=True)
            return
        place, covariance = message.pose.pose.position, message.pose.covariance
        sd_x_mm, sd_y_mm = (1e3 * covariance[i] ** 0.5 for i in (0, 7))
        print(
            f"tip at {1e3 * place.x:.1f}, {1e3 * place.y:.1f} mm of {message.header.frame_id}, "
            f"known to {sd_x_mm:.1f}, {sd_y_mm:.1f} mm",
            flush=True,
        )


def main():
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt):
        rclpy.spin(TipPrinter())


if __name__ == "__main__":
    main()
