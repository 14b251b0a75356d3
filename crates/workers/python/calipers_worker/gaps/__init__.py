"""Gap probes: tiny models sent through every path of a framework, and what came of each."""
