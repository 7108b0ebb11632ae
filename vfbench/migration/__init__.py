"""What every migration has, whatever the testbed: pre-copy, VF state, the comparison of two memories."""
