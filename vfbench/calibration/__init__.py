"""Measuring on this machine what a profile's figures cost here, each with its spread, and writing a profile of it."""
