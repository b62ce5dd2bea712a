"""Modules that examples import and that need a Raspberry Pi; this folder is on the path of the examples."""
