"""Servers whose answers depend on nothing but the questions, so that two replicas say the same. Each is a program."""
