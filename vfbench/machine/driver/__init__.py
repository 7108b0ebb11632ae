"""The guest's half: NAPI poll, the VF driver, the virtio-net driver, and the application."""
