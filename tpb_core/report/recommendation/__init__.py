"""What to run: the configuration with the least energy per good request under latency targets."""
