"""Prints, as one line of JSON, the interpreter's version and path and the versions of the packages in sys.argv."""

import json
import sys

packages = {}
if sys.version_info >= (3, 11) and len(sys.argv) > 1:
    import importlib.metadata
    import importlib.util

    distributions = importlib.metadata.packages_distributions()
    for name in sys.argv[1:]:
        packages[name] = None
        if importlib.util.find_spec(name) is not None:
            found = [importlib.metadata.version(one) for one in distributions.get(name, [])]
            packages[name] = found[0] if found else "unknown"
print(json.dumps({"version": list(sys.version_info[:3]), "executable": sys.executable, "packages": packages}))
