"""What is shown of records. Everything here reads records, never a testbed."""
