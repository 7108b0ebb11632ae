"""What should I use? From facts to what is possible, why the rest is not, and how what is possible compares."""
