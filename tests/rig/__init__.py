"""The rig: real cameras, real blob storage, real players, and a judge. See tests/README.md."""
