"""Mechanisms that several strategies may be made of, one file each."""
