"""End-to-end cases; one file each. See tests/README.md."""
