"""Deciders: observations -> actions, learned or scripted; inference only. They propose, the gate disposes."""
