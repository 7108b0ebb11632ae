"""The IOMMU that a guest sees: its table, the calls that reach the hypervisor, the device's IOTLB."""
