"""What a guest and its network card are made of: memory, rings, device, driver, IOMMU, virtqueue."""
