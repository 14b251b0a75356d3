"""Says, as one line of JSON, what the interpreter is and which of the packages in sys.argv it has.

Runs on any Python that knows JSON; the packages are not imported.
"""

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
answer = {
    "version": list(sys.version_info[:3]),
    # Of a virtual environment, the interpreter that it was made from.
    "executable": getattr(sys, "_base_executable", None) or sys.executable,
    "packages": packages,
}
sys.stdout.write(json.dumps(answer) + "\n")
