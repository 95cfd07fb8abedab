"""`ur`: an arm of Universal Robots. Own RTDE 2 client, and a URScript program that keeps every deadline itself.

| page | what |
| --- | --- |
| `wire` | RTDE 2 as pure functions |
| `client` | a connection that always drains |
| `program` | what our program on the controller reads and writes, and the program itself |
| `dashboard` | the controller's own questions and answers, and how a program is sent |
| `carried` | from poses to depth or probe, from commands to twists |
| `arm` | the part of a rig |
"""
