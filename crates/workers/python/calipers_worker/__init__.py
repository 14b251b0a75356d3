"""One framework behind the worker protocol: `python -m calipers_worker pytorch|tensorflow`."""
