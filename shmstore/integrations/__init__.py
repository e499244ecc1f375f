"""Caches of frameworks in shared memory: one module for each framework, which imports it (docs/integrations.md)."""
