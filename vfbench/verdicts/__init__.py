"""The claims of the argument, one file each, judged on records."""
