"""A scanner and a listener on ROS 2 topics, for tests of the bridge: ros_peer.py IMAGE_TOPIC NAMESPACE COUNT

It publishes COUNT numbered pictures and some that are no pictures of use, and prints what comes on the topics of the
tip, a line of JSON each. It ends when its input is closed.
"""

import array
import json
import sys
import threading
import time

import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import String

ROWS, COLUMNS, PAD = 48, 64, 3


def picture(i):
    """A picture with its number in its first four bytes, and rows that are longer than its pixels."""
    m = Image()
    m.height, m.width, m.encoding, m.step = ROWS, COLUMNS, "mono8", COLUMNS + PAD
    row = bytes([i & 0xFF]) * COLUMNS + b"\xee" * PAD
    m.data = array.array("B", i.to_bytes(4, "little") + row[4:] + row * (ROWS - 1))
    m.header.stamp.sec, m.header.stamp.nanosec = 1_700_000_000 + i // 50, i % 50 * 20_000_000
    m.header.frame_id = "probe"
    return m


def say(**what):
    print(json.dumps(what), flush=True)


def pose_told(name, m):
    p, o = m.pose.pose.position, m.pose.pose.orientation
    say(
        topic=name,
        frame_id=m.header.frame_id,
        stamp=[m.header.stamp.sec, m.header.stamp.nanosec],
        position=[p.x, p.y, p.z],
        orientation=[o.x, o.y, o.z, o.w],
        covariance=list(m.pose.covariance),
    )


def main(topic, namespace, count):
    rclpy.init(args=[])
    node = rclpy.create_node("peer")
    scanner = node.create_publisher(Image, topic, qos_profile_sensor_data)
    node.create_subscription(String, f"{namespace}/state", lambda m: say(topic="state", text=m.data), 10)
    for name in ("tip", "tip_in_reference"):
        node.create_subscription(
            PoseWithCovarianceStamped, f"{namespace}/{name}", lambda m, n=name: pose_told(n, m), 10
        )
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    said, i = False, 0
    while not over.is_set():
        executor.spin_once(timeout_sec=0.0)
        if scanner.get_subscription_count() and node.count_publishers(f"{namespace}/state"):
            if not said:
                say(topic="ready")
                said = True
            if i < count:
                m = picture(i)
                if i % 10 == 3:  # alone, since the bridge takes the newest only
                    m.encoding = "yuv422"
                scanner.publish(m)
                i += 1
        time.sleep(0.02)
    say(topic="end", sent=i)
    rclpy.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
