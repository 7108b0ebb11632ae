"""Guest memory: contents and marks, where structures lie, the guest's page pool."""
