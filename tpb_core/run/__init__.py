"""One run: session, sampler with guardian, engine worker, clock and load shapes."""
