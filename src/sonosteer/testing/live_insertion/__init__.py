"""A live insertion in five processes on one machine: scanner, link, sonosteer, robot and its encoders.

| process | what | page |
| --- | --- | --- |
| scanner | tissue and needle, pictures over OpenIGTLink | `scanner` |
| link | hands the stream on, as a scanner's network does | `link` |
| sonosteer | `sonosteer insert --live`, as anybody starts it | `commands/insert_live` |
| robot | stand-ins of needle drive or UR arm, and of the guide, in their own time | `robot` |
| encoders | reads the robot and moves the scanner's needle | `encoders` |

`bench` starts them, compares with the same insertions in one process, and measures the way from picture to order.
"""
