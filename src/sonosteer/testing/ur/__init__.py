"""Stand-in of a controller of Universal Robots, in a process of its own: `python -m sonosteer.testing.ur.controller`.

| page | what |
| --- | --- |
| `urscript` | interprets the words that our program uses |
| `arm_model` | the arm: twists to poses, and what it measures |
| `fields` | names and types of RTDE's fields |
| `rtde_server` | RTDE 2 for any number of clients |
| `controller` | all of it, with a hand that breaks it |

It interprets the URScript file that ships. So what is tested here is what runs on a controller, as far as the
interpreter is right: it was written after Universal Robots' manual and never compared with a real one.
"""
