"""Peers over OpenIGTLink in C++, on Debian's libopenigtlink: what others wrote packs, stamps, checks and reads."""
